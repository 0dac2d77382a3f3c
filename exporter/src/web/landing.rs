// SPDX-License-Identifier: Apache-2.0
//! The page at `/`: the worst edges now, what is observed and how it fares, where names come from, where to go.

use super::flows::{Link, cells};
use super::html::{Finished, Page};
use super::units::{count, percent};
use crate::flows::{Answer, By, Column, Order, Query, Row};
use crate::source::{ComponentStatus, MetricSource, State};

/// Edges that are shown of each kind.
const WORST: usize = 5;

/// Fewer segments than this are too few for a share of them to mean something.
const LEAST_SEGMENTS: u64 = 100;

/// What the page shows.
pub struct Landing {
    /// This host.
    pub node: String,
    /// Collectors and label sources.
    pub components: Vec<ComponentStatus>,
    /// The edges with most retransmits in what they sent, and those with most errors; None without the drill-down.
    pub worst: Option<[Answer; 2]>,
    /// Where the metrics are.
    pub telemetry_path: String,
}

impl Landing {
    /// What a source has to tell.
    pub fn of(source: &dyn MetricSource, telemetry_path: &str) -> Self {
        let labels = source.flow_labels();
        let sorted = |column: &str, least_segments| {
            let sort = Column::named(column, labels.as_ref()?)?;
            let query = Query { by: By::Edge, sort, limit: WORST, least_segments, ..Query::default() };
            source.flows(&query)
        };
        let worst = sorted("retransmit_ratio", LEAST_SEGMENTS).zip(sorted("errors", 0));
        Self {
            node: source.node(),
            components: source.status(),
            worst: worst.map(|(retransmits, errors)| [retransmits, errors]),
            telemetry_path: telemetry_path.to_owned(),
        }
    }

    /// Writes the page.
    pub fn page(&self) -> Finished {
        let title =
            if self.node.is_empty() { "Flowgauge".to_owned() } else { format!("{} · Flowgauge", self.node) };
        let mut page = Page::new(&title, &self.node, "/", &self.telemetry_path, self.worst.is_some());
        page.raw("<h1>What the network does to the services of this node</h1>\n");
        self.state(&mut page);
        if let Some(worst) = &self.worst {
            self.worst(&mut page, worst);
        }
        page.raw("<div class=\"columns\">\n");
        self.parts(&mut page, "What is observed", &["collector"]);
        self.parts(&mut page, "Where names come from", &["label source"]);
        self.parts(&mut page, "What guards it", &["web", "sandbox"]);
        page.raw("</div>\n");
        self.links(&mut page);
        page.finish("")
    }

    fn state(&self, page: &mut Page) {
        let wanted = self.components.iter().filter(|component| component.state != State::Disabled);
        let (all, failed) = wanted.fold((0, Vec::new()), |(all, mut failed), component| {
            failed.extend((component.state == State::Failed).then_some(component));
            (all + 1, failed)
        });
        if failed.is_empty() {
            page.raw("<p class=\"state\"><span class=\"dot up\"></span>");
            page.raw(if all == 0 {
                "Nothing is switched on."
            } else {
                "All parts that are switched on work."
            });
            page.raw("</p>\n");
            return;
        }
        page.raw("<p class=\"state\"><span class=\"dot failed\"></span><b>").number(failed.len());
        page.raw(" of ").number(all).raw(" parts do not work</b>: ");
        for (at, component) in failed.iter().enumerate() {
            page.raw(if at > 0 { ", " } else { "" }).text(&component.name);
        }
        page.raw(". The rest goes on.</p>\n");
    }

    fn worst(&self, page: &mut Page, [retransmits, errors]: &[Answer; 2]) {
        page.raw("<div class=\"columns\">\n");
        let lossy = retransmits.rows.iter().filter_map(|row| Some((row, retransmitted(row)?)));
        let what = ("Worst edges by retransmits", "retransmit_ratio");
        list(page, retransmits, what, lossy, "No edge with traffic to speak of sends anything again.");
        let failing = errors.rows.iter().filter_map(|row| Some((row, failed(row)?)));
        let what = ("Worst edges by failures", "errors");
        list(page, errors, what, failing, "No connect, DNS query or request fails.");
        page.raw("</div>\n");
    }

    fn parts(&self, page: &mut Page, title: &str, kinds: &[&str]) {
        let parts: Vec<_> =
            self.components.iter().filter(|component| kinds.contains(&component.kind)).collect();
        page.raw("<section><h2>").raw(title).raw("</h2>\n");
        if parts.is_empty() {
            page.raw("<p class=\"nothing\">None.</p></section>\n");
            return;
        }
        page.raw("<ul class=\"parts\">\n");
        for ComponentStatus { name, state, detail, .. } in parts {
            let state = state.as_str();
            page.raw("<li class=\"")
                .raw(state)
                .raw("\"><span class=\"dot ")
                .raw(state)
                .raw("\"></span><div><b>");
            page.text(&name.replace('_', " ")).raw("</b> <span class=\"word\">").raw(state).raw("</span><p>");
            page.text(detail).raw("</p></div></li>\n");
        }
        page.raw("</ul></section>\n");
    }

    fn links(&self, page: &mut Page) {
        page.raw("<footer><p>");
        for (path, name) in [("/-/healthy", "Healthy"), ("/-/ready", "Ready")] {
            page.raw("<a href=\"").raw(path).raw("\">").raw(name).raw("</a> · ");
        }
        page.raw("Version ").raw(env!("CARGO_PKG_VERSION")).raw(", revision ");
        page.text(env!("FLOWGAUGE_REVISION")).raw("</p></footer>\n");
    }
}

/// What an edge sent again, if it did.
fn retransmitted(row: &Row) -> Option<(String, String)> {
    let tcp = row.tcp.as_ref()?;
    let ratio = tcp.retransmit_ratio.filter(|ratio| *ratio > 0.0)?;
    let of = format!("{} of {} segments", count(tcp.retransmitted_segments), count(tcp.sent_segments));
    Some((percent(ratio), of))
}

/// What failed on an edge, if something did.
fn failed(row: &Row) -> Option<(String, String)> {
    let connects: u64 = row.tcp.as_ref().map_or(0, |tcp| tcp.connect_failures.values().sum());
    let dns = row.dns.as_ref().map_or(0, |dns| dns.errors);
    let (http, grpc) = row.http.as_ref().map_or((0, 0), |http| (http.errors, http.grpc_errors));
    let parts =
        [(connects, "failed connects"), (dns, "DNS errors"), (http, "HTTP errors"), (grpc, "gRPC errors")];
    let told: Vec<_> = parts.iter().filter(|(number, _)| *number > 0).collect();
    let all: u64 = told.iter().map(|(number, _)| number).sum();
    let words = match told[..] {
        [] => return None,
        [(_, what)] => (*what).to_owned(),
        _ => told
            .iter()
            .map(|(number, what)| format!("{} {what}", count(*number)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    Some((count(all), words))
}

fn list<'a>(
    page: &mut Page,
    answer: &Answer,
    (title, sort): (&str, &str),
    rows: impl Iterator<Item = (&'a Row, (String, String))>,
    none: &str,
) {
    let query = Query { by: By::Edge, ..Query::default() };
    let link = Link::to(&query, &answer.labels).sort(sort, Order::Descending);
    page.raw("<section><h2>").raw(title).raw(" <small>last 5 min</small></h2>\n<ol class=\"worst\">\n");
    let mut any = false;
    for (row, (value, of)) in rows {
        any = true;
        page.raw("<li><div>");
        cells::edge(page, &row.edge, Some(&link.clone().edge(&row.edge)));
        cells::edge_details(page, &row.edge);
        page.raw("</div><div class=\"value\"><b>").text(&value).raw("</b><small>").text(&of);
        page.raw("</small></div></li>\n");
    }
    page.raw("</ol>\n");
    if any {
        page.raw("<p class=\"more\"><a href=\"").text(&link.text()).raw("\">All edges</a></p>");
    } else {
        page.raw("<p class=\"nothing\">").raw(none).raw("</p>");
    }
    page.raw("</section>\n");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Landing;
    use crate::flows::fixture::{Fixture, Growth, edge};
    use crate::source::{ComponentStatus, MetricSource, State};
    use crate::web::fake::Fake;

    fn landing(components: Vec<ComponentStatus>) -> Landing {
        Landing { node: "<node>".to_owned(), components, worst: None, telemetry_path: "/metrics".to_owned() }
    }

    #[test]
    fn hostile_names_stay_text() {
        let component = ComponentStatus {
            kind: "collector",
            name: "<script>alert(1)</script>".to_owned(),
            state: State::Failed,
            detail: "\"'&<b>".to_owned(),
        };
        let page = landing(vec![component]).page().body;
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("<p>&quot;&#39;&amp;&lt;b&gt;</p>"), "{page}");
        assert!(page.contains("<b>1 of 1 parts do not work</b>"), "{page}");
        assert!(page.contains("<a href=\"/metrics\">Metrics</a>"), "{page}");
        assert!(!page.contains("\"/flows"), "there is no drill-down: {page}");
        assert!(page.contains("&lt;node&gt;"), "{page}");
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let page = landing(Vec::new()).page();
        let own = page.body.replace("xmlns='http://www.w3.org/2000/svg'", "");
        assert!(!own.contains("http") && !own.contains("//"), "{own}");
        assert!(page.policy.starts_with("default-src 'none';"), "{}", page.policy);
    }

    #[test]
    fn the_worst_edges_are_listed_with_what_is_behind_them() {
        let mut fixture = Fixture::new(100);
        fixture.pass(15, &mut []);
        // Ten edges; of each number one segment in a hundred more is sent again, and one connect more fails.
        for number in 0..10_u8 {
            let edge = edge("shop", &format!("api-{number}"));
            let growth = Growth {
                segments: 1000,
                retransmitted: 10 * u64::from(number),
                refused: number.into(),
                ..Growth::sent(1000)
            };
            fixture.grow(&mut None, &edge, [192, 0, 2, number].into(), &growth);
        }
        // The worst of all, but of next to nothing.
        let few = Growth { segments: 10, retransmitted: 9, ..Growth::sent(10) };
        fixture.grow(&mut None, &edge("shop", "rare"), [192, 0, 2, 99].into(), &few);
        let fake: Arc<dyn MetricSource> = Fake::taking(Duration::ZERO).with_flows(fixture.flows);
        let page = Landing::of(fake.as_ref(), "/metrics").page().body.replace('\u{202f}', " ");
        let lists: Vec<_> = page.split("<ol class=\"worst\">").skip(1).collect();
        let names = |list: &str| {
            let list = list.split("</ol>").next().unwrap();
            let names = list.split("<b>").filter_map(|part| part.strip_prefix("api-"));
            names.map(|name| name.split('<').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(lists[0]), ["9", "8", "7", "6", "5"]);
        assert_eq!(names(lists[1]), ["9", "8", "7", "6", "5"]);
        assert!(lists[0].contains("<b>9.0 %</b><small>90 of 1 000 segments</small>"), "{}", lists[0]);
        assert!(lists[1].contains("<b>9</b><small>failed connects</small>"), "{}", lists[1]);
        assert!(!page.contains("rare"), "{page}");
        assert!(page.contains("href=\"/flows?by=edge&amp;sort=retransmit_ratio\">All edges"), "{page}");
    }
}
