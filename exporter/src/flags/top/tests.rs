// SPDX-License-Identifier: Apache-2.0
use std::ffi::OsString;

use super::super::{Command, Flags, Usage};
use super::{RowsBy, Target, TopFlags, View, Window};

fn parse(arguments: &[&str]) -> Result<TopFlags, String> {
    let arguments = ["flowgauge", "top"].iter().chain(arguments).copied().map(OsString::from);
    match Flags::parse_from(arguments) {
        Ok(Flags { command: Some(Command::Top(flags)), .. }) => Ok(*flags),
        Err(Usage::Mistake(line)) => Err(line),
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_and_values() {
    let flags = parse(&[]).unwrap();
    assert_eq!(flags.url.to_string(), "http://localhost:10950");
    assert_eq!((flags.by, flags.window, flags.view), (RowsBy::Edge, Window::Five, View::Traffic));
    assert_eq!((flags.sort.as_str(), flags.limit, flags.once, flags.json), ("bytes", 200, false, false));
    assert!(flags.credentials().unwrap().is_none());
    let flags =
        parse(&["--by=address", "--window=15m", "--view=DNS", "--filter=a=b", "--filter", "c", "--once"]);
    let flags = flags.unwrap();
    assert_eq!((flags.by, flags.window, flags.view), (RowsBy::Address, Window::Fifteen, View::Dns));
    assert_eq!((flags.filters, flags.once), (vec!["a=b".to_owned(), "c".to_owned()], true));
}

#[test]
fn mistakes_name_the_flag() {
    for (arguments, expected) in [
        (&["--url=ftp://x"][..], "--url: \"ftp://x\": must be http://HOST[:PORT]"),
        (&["--url=http://a:b@x"], "use --user and --password-file"),
        (&["--url=http://x:"], "must be http://HOST[:PORT]"),
        (&["--url=http://x:99999"], "must be http://HOST[:PORT]"),
        (&["--url=node-1"], "must be http://HOST[:PORT]"),
        (&["--window=2m"], "--window: \"2m\": is not valid; allowed: 1m, 5m, 15m"),
        (&["--sort=a b"], "--sort: \"a b\": is not a column"),
        (&["--limit=0"], "--limit: \"0\""),
        (&["--interval=1ms"], "--interval: \"1ms\": must be from 1s to 1h"),
        (&["--once", "--json"], "--once"),
        (&["--cert-file=x"], "--key-file"),
    ] {
        let line = parse(arguments).unwrap_err();
        assert!(line.starts_with("flowgauge: ") && line.contains(expected), "{arguments:?}: {line}");
    }
}

#[test]
fn addresses_are_taken_as_browsers_show_them() {
    let target = |text: &str| text.parse::<Target>().unwrap();
    let plain = target("http://node-1:10950");
    assert_eq!(
        (plain.tls, plain.host.as_str(), plain.port, plain.path.as_str()),
        (false, "node-1", 10950, "/flows")
    );
    assert_eq!(target("https://node-1/").port, 443);
    assert_eq!(target("https://[2001:db8::1]:8443").authority(), "[2001:db8::1]:8443");
    assert_eq!(target("https://[2001:db8::1]:8443").host, "2001:db8::1");
    assert_eq!(target("http://x/behind/proxy/").path, "/behind/proxy/flows");
    let page = target("http://x/flows?by=edge&sort=bytes&server_workload=a+b%26c&address=192.0.2.0/24#top");
    assert_eq!(page.path, "/flows");
    let filters: Vec<_> = page.filters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(filters, [("server_workload", "a b&c"), ("address", "192.0.2.0/24")]);
}

#[test]
fn the_password_is_the_first_line_of_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let flag = format!("--password-file={}", file.path().display());
    let of = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        parse(&["--user=me", &flag]).unwrap().credentials()
    };
    assert_eq!(of("s3 cret \nrest").unwrap(), Some(("me".to_owned(), "s3 cret ".to_owned())));
    assert!(matches!(of(""), Err(Usage::Mistake(line)) if line.contains("--password-file")));
    assert!(matches!(of(&"x".repeat(5000)), Err(Usage::Mistake(_))));
    assert!(parse(&["--user=a:b"]).unwrap().credentials().is_err());
}
