// SPDX-License-Identifier: Apache-2.0
//! `flowgauge top`: in a real terminal, in a pipe, and against servers that mean harm.

use std::process::{Command, Output};

use flowgauge_tests::exporter::binary;
use flowgauge_tests::flows_server::{FlowsServer, Reply, edges};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::output;
use flowgauge_tests::sys;
use flowgauge_tests::terminal::Terminal;

/// The table of `server`, in a terminal.
fn top(width: u16, height: u16, server: &FlowsServer, flags: &[&str]) -> Result<Terminal> {
    let binary = binary()?.display().to_string();
    let url = server.flag();
    let mut program = vec![binary.as_str(), "top", &url, "--interval=1s"];
    program.extend(flags);
    Terminal::around(width, height, &program)
}

/// What the program prints into a pipe.
fn printed(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let Output { status, stdout, stderr } = output(Command::new(binary()?).arg("top").args(arguments))?;
    Ok((status.code(), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

/// Ends a program in a terminal.
type End = Box<dyn Fn(&Terminal) -> Result<()>>;

#[test]
fn keys_ask_and_show() -> Result<()> {
    let server = FlowsServer::start(Reply::Json(edges(&["payments", "ledger", "mailer"])))?;
    let terminal = top(80, 24, &server, &[])?;
    let screen = terminal.wait_for("payments:443")?;
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    for part in ["node-1", "3 of 3", "SENT/s", "checkout", "10.0k", "2.00%", "q quit"] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    server.wait_for(&["GET /flows?format=json&by=edge&window=5m&sort=bytes&order=desc"])?;
    for (key, asked) in [
        ("w", &["window=15m"][..]),
        (">", &["sort=sent_bytes", "window=15m"]),
        ("r", &["order=asc", "sort=sent_bytes"]),
        ("a", &["by=address", "order=asc"]),
    ] {
        terminal.press(&[key])?;
        server.wait_for(asked).with_context(|| format!("after {key}"))?;
    }
    terminal.press(&["e"])?;
    terminal.press(&["Tab"])?;
    terminal.wait_for("RTTmax")?;
    terminal.press(&["?"])?;
    terminal.wait_for("any key: back")?;
    terminal.press(&["x"])?;
    terminal.wait_until("no help", |screen| !screen.contains("any key: back"))?;
    // The second row, and the addresses behind it.
    terminal.press(&["Down"])?;
    terminal.wait_for("server ledger")?;
    terminal.press(&["Enter"])?;
    server.wait_for(&[
        "by=address",
        "client_workload=checkout",
        "server_workload=ledger",
        "server_port=443",
    ])?;
    terminal.press(&["BSpace"])?;
    terminal.wait_until("no filter", |screen| !screen.contains("filter: "))?;
    terminal.press(&["/"])?;
    terminal.write("observer=client mail")?;
    terminal.press(&["Enter"])?;
    server.wait_for(&["observer=client"])?;
    terminal.wait_until("mailer alone", |screen| {
        screen.contains("mailer:443") && !screen.contains("ledger:443")
    })?;
    Ok(())
}

#[test]
fn every_end_leaves_the_terminal_as_it_was() -> Result<()> {
    let server = FlowsServer::start(Reply::Json(edges(&["payments"])))?;
    let signal = |signal| move |terminal: &Terminal| sys::kill(terminal.file("pid")?.trim().parse()?, signal);
    let key = |key| move |terminal: &Terminal| terminal.press(&[key]);
    let ends: [(&str, End); 6] = [
        ("q", Box::new(key("q"))),
        ("Ctrl-C", Box::new(key("C-c"))),
        ("SIGTERM", Box::new(signal(libc::SIGTERM))),
        ("SIGINT", Box::new(signal(libc::SIGINT))),
        ("SIGHUP", Box::new(signal(libc::SIGHUP))),
        ("SIGQUIT", Box::new(signal(libc::SIGQUIT))),
    ];
    for (name, end) in ends {
        let terminal = top(80, 24, &server, &[])?;
        terminal.wait_for("payments:443")?;
        assert_eq!(terminal.tell("#{alternate_on} #{cursor_flag}")?, "1 0", "{name}");
        end(&terminal)?;
        let screen = terminal.wait_for("ended 0").with_context(|| name.to_owned())?;
        assert!(screen.starts_with("before\n") && !screen.contains("payments"), "{name}:\n{screen}");
        assert_eq!(terminal.tell("#{alternate_on} #{cursor_flag}")?, "0 1", "{name}");
        terminal
            .wait_until("the state", |_| terminal.file("after").is_ok_and(|after| after.ends_with('\n')))?;
        assert_eq!(terminal.file("before")?, terminal.file("after")?, "{name}");
        assert_eq!(terminal.file("stderr")?, "", "{name}");
    }
    Ok(())
}

#[test]
fn it_follows_the_size_of_the_terminal() -> Result<()> {
    let names: Vec<_> = (0..60).map(|number| format!("server-{number:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let server = FlowsServer::start(Reply::Json(edges(&names)))?;
    let terminal = top(80, 24, &server, &[])?;
    terminal.wait_for("server-00")?;
    terminal.resize(140, 50)?;
    let screen = terminal.wait_for("shop/checkout")?;
    let wide = terminal.wait_until("more rows", |screen| screen.contains("server-35"))?;
    assert!(wide.lines().any(|line| line.chars().count() > 100), "{screen}");
    terminal.press(&["End"])?;
    terminal.wait_for("server-59")?;
    terminal.resize(40, 10)?;
    terminal.wait_until("few columns", |screen| {
        screen.contains("checkout")
            && !screen.contains("shop/")
            && screen.lines().all(|line| line.chars().count() <= 40)
    })?;
    for (width, height) in [(5, 3), (1, 1), (300, 5)] {
        terminal.resize(width, height)?;
        // It draws again, or at least still lives.
        std::thread::sleep(Duration::from_millis(300));
    }
    terminal.resize(80, 24)?;
    terminal.wait_for("server-59")?;
    terminal.press(&["q"])?;
    terminal.wait_for("ended 0")?;
    Ok(())
}

#[test]
fn an_error_is_told_and_the_last_data_stays() -> Result<()> {
    let server = FlowsServer::start(Reply::Json(edges(&["payments"])))?;
    let terminal = top(80, 24, &server, &[])?;
    terminal.wait_for("payments:443")?;
    server.say(Reply::Bytes(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 25\r\n\r\nswitched off by --web.flo".to_vec(),
    ));
    let screen = terminal.wait_for("404 Not Found: switched off by --web.flo")?;
    assert!(screen.contains("payments:443") && screen.contains("error, data is "), "{screen}");
    server.say(Reply::Json(edges(&["ledger"])));
    terminal.wait_until("data again", |screen| screen.contains("ledger:443") && !screen.contains("error"))?;
    Ok(())
}

#[test]
fn a_hostile_server_has_no_power_over_the_terminal() -> Result<()> {
    let nasty = "pay\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31mments\u{202e}\r\nline";
    let server = FlowsServer::start(Reply::Json(edges(&[nasty])))?;
    let terminal = top(100, 24, &server, &[])?;
    let title = terminal.tell("#{pane_title}")?;
    // One character for each that was taken out.
    let screen = terminal.wait_for("pay\u{fffd}]0;owned\u{fffd}\u{fffd}[2J\u{fffd}31mm")?;
    assert!(screen.contains("node-1") && screen.contains("q quit"), "{screen}");
    assert_eq!(terminal.tell("#{pane_title}")?, title);
    for (reply, told) in [
        (Reply::Endless(vec![b'['; 65536]), "longer than 16 MiB"),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"a\":".to_vec()),
            "not an answer of /flows",
        ),
        (Reply::Bytes(b"\x1b]0;owned\x07\r\n\r\n".to_vec()), "no HTTP answer"),
        (
            Reply::Bytes(b"HTTP/1.1 400 Bad\r\nContent-Length: 8\r\n\r\n\x1b]0;o\x07\x1bc".to_vec()),
            "400 Bad Request: ",
        ),
        (Reply::Json(serde_json::json!({"version": 7, "rows": []})), "version 7 of the format"),
        (
            Reply::Json(serde_json::json!({"version": 1, "rows": vec![serde_json::json!({}); 5000]})),
            "at most 1000",
        ),
    ] {
        server.say(reply.clone());
        let screen = terminal.wait_for(told).with_context(|| told.to_owned())?;
        assert!(screen.contains("error, data is "), "{told}:\n{screen}");
        assert_eq!(terminal.tell("#{pane_title}")?, title, "{told}");
    }
    // Who waits for nothing still listens to keys.
    server.say(Reply::Silence);
    terminal.press(&["w"])?;
    server.wait_for(&["window=15m"])?;
    terminal.press(&["?"])?;
    terminal.wait_for("any key: back")?;
    let resident = std::fs::read_to_string(format!("/proc/{}/status", terminal.file("pid")?.trim()))?;
    let peak = resident.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    assert!(peak < 200_000, "peak of {peak} kB");
    terminal.press(&["q"])?;
    terminal.wait_for("ended 0")?;
    Ok(())
}

#[test]
fn a_plain_table_and_json() -> Result<()> {
    let nasty = "pay\u{1b}[2J\u{9b}ments";
    let server = FlowsServer::start(Reply::Json(edges(&[nasty, "ledger"])))?;
    let (code, table, said) = printed(&[&server.flag(), "--once", "--filter=server_port=443"])?;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert_eq!(lines[0], "node-1: 2 of 2 by bytes, last 5m (5m known), 17 addresses tracked");
    assert!(
        lines[3].starts_with("cli  shop/checkout  ledger:443 ") && lines[3].ends_with("2.00%"),
        "{table}"
    );
    assert!(!table.chars().any(|c| c.is_control() && c != '\n'), "{table:?}");
    server.wait_for(&["server_port=443"])?;
    let (code, json, said) = printed(&[&server.flag(), "--json", "--by=address"])?;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(!json.chars().any(|c| c.is_control() && c != '\n'), "{json:?}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json)?,
        edges(&[nasty, "ledger"]),
        "the same document"
    );
    server.say(Reply::Bytes(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec()));
    for how in ["--once", "--json"] {
        let (code, table, said) = printed(&[&server.flag(), how])?;
        assert_eq!((code, table.as_str()), (Some(1), ""), "{said}");
        assert!(
            said.starts_with("flowgauge: top: 401 Unauthorized: ") && said.lines().count() == 1,
            "{said}"
        );
    }
    let (code, _, said) = printed(&[&server.flag()])?;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("standard output is no terminal"), "{said}");
    Ok(())
}

/// Against the real exporter, by the report of who sent and by the addresses of the hosts.
#[test]
fn a_running_exporter_is_shown_as_it_is() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--listen", "0.0.0.0:81"])?;
    let shape = ["--connections", "4", "--receive", "500000"];
    let report = get(&stage.client, &[&["--to", &stage.to(80)], &shape[..]].concat())?;
    get(&stage.client, &["--to", &stage.to(81), "--connections", "2", "--receive", "1000"])?;
    for (port, connections) in [(80, 4.0), (81, 2.0)] {
        stage.expect(&stage.edge(port), &[("connections_opened_total", CLIENT, connections)])?;
    }
    let url = format!("--url=http://{}", stage.exporter.address());
    // Other tests may talk at the same time.
    let client = format!("--filter=client_workload={}", stage.client.workload);
    let of_client = [url.as_str(), &client, "--filter=observer=client", "--filter=server_port=80"];
    let (code, json, said) = printed(&[&of_client[..], &["--json"]].concat())?;
    assert_eq!(code, Some(0), "{said}");
    let answer: serde_json::Value = serde_json::from_str(&json)?;
    let rows = answer["rows"].as_array().context("no rows")?;
    assert_eq!(rows.len(), 1, "{answer:#}");
    assert_eq!(rows[0]["tcp"]["connections_opened"], 4, "{answer:#}");
    assert_eq!(rows[0]["tcp"]["received_bytes"], report.received, "{answer:#}");
    let by_address = ["--once", "--by=address", "--view=connect", "--sort=connect_attempts"];
    let (code, table, said) = printed(&[&of_client[..], &by_address].concat())?;
    assert_eq!(code, Some(0), "{said}");
    let row: Vec<_> = table.lines().last().unwrap_or_default().split_whitespace().collect();
    let address = stage.link.b.v4.to_string();
    assert_eq!((row[0], row[1], row[3]), ("cli", address.as_str(), ">"), "{table}");
    assert_eq!(row[row.len() - 4..], ["4", "4", "0", "0"], "opened, tried, failed, SYNs again: {table}");
    // What it does not know it says in a line.
    let (code, _, said) = printed(&[&of_client[..], &["--once", "--sort=colour"]].concat())?;
    assert!(code == Some(1) && said.contains("400 Bad Request: ") && said.contains("sort"), "{said}");

    // An edge leads to its addresses, by all of its labels.
    let binary = binary()?.display().to_string();
    let program = [&[binary.as_str(), "top", "--interval=1s"], &of_client[..]].concat();
    let terminal = Terminal::around(100, 24, &program)?;
    terminal.wait_for("1 of 1")?;
    terminal.press(&["Enter"])?;
    let screen = terminal.wait_for(&address)?;
    assert!(!screen.contains("error"), "{screen}");
    terminal.press(&["q"])?;
    terminal.wait_for("ended 0")?;
    Ok(())
}
