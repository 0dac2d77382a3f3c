// SPDX-License-Identifier: Apache-2.0
//! The selected row in full.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

use super::super::answer::{Dns, Http, Row, Table, Tcp};
use super::super::format::{count, seconds};
use super::super::model::Model;
use super::super::text::fit;

/// Lines that it takes, with the rule above.
pub const HEIGHT: u16 = 6;

/// Draws it; nothing if no row is selected.
pub fn draw(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let block = Block::new().borders(Borders::TOP).style(Style::new().add_modifier(Modifier::DIM));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(row) = model.selected() else { return };
    let now = model.shown.as_ref().map_or(0.0, |shown| shown.answer.generated_at);
    let lines =
        lines(row, now).into_iter().map(|line| Line::from(fit(&line, inner.width.into()).into_owned()));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), inner);
}

fn lines(row: &Row, now: f64) -> [String; 5] {
    let client = format!("client {}", end(row, "client", &["zone"]));
    let server = format!("server {}", end(row, "server", &["service", "kind", "zone", "port"]));
    let local = [("process", &row.process), ("container", &row.container), ("pod", &row.pod)];
    let local = local.into_iter().filter_map(|(what, name)| Some(format!("{what} {}", &**name.as_ref()?)));
    let ago =
        |what: &str, seen: Option<f64>| Some(format!("{what} {} ago", seconds(Some((now - seen?).max(0.0)))));
    let seen = [ago("first seen", row.first_seen), ago("last seen", row.last_seen)];
    let local = join(local.chain(seen.into_iter().flatten()));
    let tcp = row.tcp.as_ref().map(tcp).unwrap_or_default();
    let others = join(row.dns.iter().map(dns).chain(row.http.iter().map(http)));
    [client, server, local, tcp, others]
}

/// Workload and namespace, and the labels that are not empty.
fn end(row: &Row, end: &str, labels: &[&str]) -> String {
    let label = |name: &str| row.label(&format!("{end}_{name}"));
    let name = match (label("namespace"), label("workload")) {
        ("", workload) => workload.to_owned(),
        (namespace, workload) => format!("{namespace}/{workload}"),
    };
    let labels = labels.iter().filter(|name| !label(name).is_empty());
    join([name].into_iter().chain(labels.map(|name| format!("{name} {}", label(name)))))
}

fn tcp(tcp: &Tcp) -> String {
    let Tcp { connections_closed, connect_failures, syn_retransmits, synack_retransmits, .. } = tcp;
    join([
        counts("closed", connections_closed),
        counts("failed", connect_failures),
        only("SYN again", *syn_retransmits),
        only("SYN-ACK again", *synack_retransmits),
    ])
}

fn dns(dns: &Dns) -> String {
    join([counts("dns", &dns.responses), only("timeout", dns.timeouts)])
}

fn http(http: &Http) -> String {
    join([counts("http", &http.responses), counts("failed", &http.failed), counts("grpc", &http.grpc)])
}

fn counts(what: &str, counts: &Table<f64>) -> String {
    let counts = counts.0.iter().filter(|(_, value)| **value != 0.0);
    let told: Vec<_> = counts.map(|(name, value)| format!("{} {}", &**name, count(*value))).collect();
    if told.is_empty() { String::new() } else { format!("{what}: {}", told.join(" ")) }
}

fn only(what: &str, value: f64) -> String {
    if value == 0.0 { String::new() } else { format!("{what} {}", count(value)) }
}

fn join(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}
