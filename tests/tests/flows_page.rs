// SPDX-License-Identifier: Apache-2.0
//! The pages as a browser shows them: with and without scripts, on a desk and on a phone.

use flowgauge_tests::browser::{Browser, DESK, PHONE, View};
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::prelude::*;
use flowgauge_tests::provider::{Provider, ask};

/// A provider of which one address loses packets, and another refuses.
fn traffic(provider: &Provider) -> Result<(Server, Client)> {
    let stage = &provider.stage;
    let server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let bad = provider.address(3).to_string();
    let to = provider.to(12, 80);
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let shape = ["--connections", "24", "--send", "300000", "--receive", "2000"];
    let share = ["-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.05"];
    let _loss = Rule::new(&stage.server, &[&["INPUT", "-d", &bad], &share[..]].concat(), Verdict::Drop)?;
    let (client, _) = Client::start(&stage.client, &[&to[..], &shape[..]].concat())?;
    let refusing = format!("{}:81", provider.address(4));
    get(&stage.client, &["--to", &refusing, "--connections", "7"])?;
    Ok((server, client))
}

/// What a page shows, by selector.
fn count(browser: &Browser, selector: &str) -> Result<u64> {
    let count = browser.eval(&format!("document.querySelectorAll({selector:?}).length"))?;
    count.as_u64().context("no count")
}

fn text(browser: &Browser, selector: &str) -> Result<String> {
    let text = browser.eval(&format!("document.querySelector({selector:?})?.textContent ?? ''"))?;
    Ok(text.as_str().unwrap_or_default().replace('\u{202f}', " "))
}

#[test]
fn pages_are_whole_in_a_browser() -> Result<()> {
    let provider = Provider::new(&[])?;
    let _traffic = traffic(&provider)?;
    let exporter = &provider.stage.exporter;
    let site = format!("http://{}", exporter.address());
    let of_edge = format!("{}&server_port=80&sort=retransmit_ratio", provider.question());
    for view in [DESK, PHONE, View { scripts: false, ..DESK }] {
        let browser = Browser::start(view)?;
        browser.open(&format!("{site}{of_edge}"))?;
        assert_eq!(count(&browser, "tbody tr")?, 12, "{view:?}");
        let worst = text(&browser, "tbody tr .address")?;
        assert_eq!(worst, provider.address(3).to_string(), "{view:?}");
        let finding = text(&browser, ".finding.out b")?;
        assert!(
            finding.starts_with("1 of 12 addresses has all ") && finding.ends_with(" retransmits."),
            "{finding}"
        );
        assert!(count(&browser, "tbody svg.course path")? >= 12, "{view:?}");
        // The style is in force: a phone shows cards, a desk a table; nothing is wider than the screen.
        let head = browser.eval("getComputedStyle(document.querySelector('thead')).display")?;
        assert_eq!(head == "none", view.phone, "{view:?}: {head}");
        let width =
            browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
        assert_eq!(width, 0, "{view:?}: wider than the screen");
        assert_eq!(browser.eval("document.getElementById('toggle').hidden")?, !view.scripts, "{view:?}");
        // From an address to its edges, and from an edge to its addresses, by links alone.
        let link = browser.eval("document.querySelector('tbody tr a.edge').href")?;
        browser.open(link.as_str().context("no link")?)?;
        assert!(text(&browser, "h1")?.ends_with("provider:80"), "{view:?}: {}", text(&browser, "h1")?);
        assert_eq!((count(&browser, "tbody tr")?, count(&browser, "tbody a.edge")?), (12, 0), "{view:?}");
        browser.open(&format!("{site}/"))?;
        // Other traffic of this machine may be worse than ours.
        assert!(count(&browser, "ol.worst li a.edge")? >= 2, "{view:?}");
        assert!(count(&browser, "ul.parts li")? >= 6, "{view:?}");
        let width =
            browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
        assert_eq!(width, 0, "{view:?}: wider than the screen");
        assert_eq!(browser.complaints()?, Vec::<String>::new(), "{view:?}");
    }
    Ok(())
}

#[test]
fn the_page_keeps_up_by_itself() -> Result<()> {
    let provider = Provider::new(&[])?;
    let (_server, mut client) = traffic(&provider)?;
    let exporter = &provider.stage.exporter;
    let browser = Browser::start(DESK)?;
    let of_provider = format!("{}&server_port=80&by=edge", provider.question());
    browser.open(&format!("http://{}{of_provider}", exporter.address()))?;
    browser.eval(
        "(document.querySelector('details').open = true, document.querySelector('input[name=zone]').focus())",
    )?;
    let before = text(&browser, "tbody td[data-name=Traffic] .main")?;
    client.again()?;
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    while text(&browser, "tbody td[data-name=Traffic] .main")? == before {
        assert!(std::time::Instant::now() < deadline, "still {before}: {:?}", browser.complaints()?);
        std::thread::sleep(Duration::from_millis(250));
    }
    let kept = browser.eval("document.querySelector('details').open && document.activeElement.name")?;
    assert_eq!(kept, "zone", "what a person is doing is not disturbed");
    assert_eq!(text(&browser, "#toggle")?, "Live");
    // Paused, it asks no more.
    browser.eval("document.getElementById('toggle').click()")?;
    assert_eq!(text(&browser, "#toggle")?, "Paused");
    let time = text(&browser, ".state time")?;
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(text(&browser, ".state time")?, time);
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    ask(exporter, &of_provider).map(drop)
}
