// SPDX-License-Identifier: Apache-2.0
//! The page: what is asked for, who has most of what fails, and the rows.

use super::cells::{edge, edge_details};
use super::links::Link;
use super::parameters::OF_EITHER;
use super::summary::summary;
use super::table::{choice, sort_links, table};
use crate::flows::{Answer, By, Column, MOST_ROWS, Order, Query, Window};
use crate::web::html::{Finished, Page};
use crate::web::units::{grouped, percent, time_of_day};

const SCRIPT: &str = include_str!("live.js");

/// Writes the page. `missed` says why the numbers are older than the question.
pub fn page(answer: &Answer, query: &Query, missed: Option<&str>, telemetry_path: &str) -> Finished {
    let title = format!("Flows · {} · Flowgauge", answer.node);
    let mut page = Page::new(&title, &answer.node, "/flows", telemetry_path, true);
    let one_edge = query.by == By::Address && is_one_edge(query, answer);
    heading(&mut page, answer, query, one_edge);
    controls(&mut page, answer, query, one_edge);
    page.raw("<div id=\"live\">\n");
    if let Some(missed) = missed {
        page.raw("<p class=\"notice bad\">").text(missed).raw(" These numbers are older.</p>\n");
    }
    state(&mut page, answer, query);
    if answer.rows.is_empty() {
        nothing(&mut page, answer, query);
    } else {
        // Of everything at once it would mean nothing: both ends of a flow may be here.
        if !query.filters.is_empty() || query.network.is_some() {
            summary(&mut page, &answer.shares);
        }
        sort_links(&mut page, answer, query);
        table(&mut page, answer, query, one_edge);
    }
    notes(&mut page, answer, query);
    page.raw("</div>\n");
    page.finish(SCRIPT)
}

/// Whether each label has to have one value: the question is about one edge.
fn is_one_edge(query: &Query, answer: &Answer) -> bool {
    let asked =
        |name: &str| query.filters.iter().any(|filter| filter.name == name && filter.values.len() == 1);
    answer.labels.iter().all(|name| asked(name))
}

fn heading(page: &mut Page, answer: &Answer, query: &Query, one_edge: bool) {
    match answer.rows.first().filter(|_| one_edge) {
        Some(row) => {
            let all =
                Link::to(&Query { filters: Vec::new(), network: None, ..query.clone() }, &answer.labels)
                    .by(By::Edge);
            page.raw("<p class=\"up\"><a href=\"").text(&all.text()).raw("\">← All edges</a></p>\n<h1>");
            edge(page, &row.edge, None);
            page.raw("</h1>\n<p class=\"details\">");
            edge_details(page, &row.edge);
            page.raw("</p>\n");
        }
        None => {
            page.raw("<h1>Flows by ").raw(if query.by == By::Edge { "edge" } else { "remote address" });
            page.raw("</h1>\n");
        }
    }
}

fn controls(page: &mut Page, answer: &Answer, query: &Query, one_edge: bool) {
    let link = || Link::to(query, &answer.labels);
    page.raw("<div class=\"controls\">\n<nav class=\"choice\" aria-label=\"Window\">");
    for window in Window::ALL {
        let name = format!("{} min", window.seconds() / 60);
        choice(page, &name, &link().window(window).text(), query.window == window);
    }
    page.raw("</nav>\n<nav class=\"choice\" aria-label=\"Rows\">");
    for (by, name) in [(By::Address, "Addresses"), (By::Edge, "Edges")] {
        choice(page, name, &link().by(by).text(), query.by == by);
    }
    page.raw("</nav>\n<button type=\"button\" id=\"toggle\" aria-pressed=\"true\" hidden>Live</button>\n");
    form(page, answer, query);
    page.raw("</div>\n");
    chips(page, answer, query, one_edge);
}

/// Conditions in force, each a link that takes it away. Of one edge, its labels are the heading.
fn chips(page: &mut Page, answer: &Answer, query: &Query, one_edge: bool) {
    let mut chips: Vec<(&str, String)> = Vec::new();
    if let Some(network) = query.network {
        let single = network.prefix_len() == network.max_prefix_len();
        chips.push(("address", if single { network.addr().to_string() } else { network.to_string() }));
    }
    let filters = query.filters.iter().filter(|_| !one_edge);
    chips.extend(filters.map(|filter| {
        let shown = |value: &String| if value.is_empty() { "(empty)".to_owned() } else { value.clone() };
        (filter.name, filter.values.iter().map(shown).collect::<Vec<_>>().join(" or "))
    }));
    if chips.is_empty() {
        return;
    }
    page.raw("<p class=\"chips\">");
    for (name, value) in chips {
        let link = Link::to(query, &answer.labels).without(name);
        page.raw("<a href=\"")
            .text(&link.text())
            .raw("\" title=\"Remove\"><span>")
            .text(&name.replace('_', " "));
        page.raw("</span> ").text(&value).raw(" <span aria-hidden=\"true\">×</span></a>");
    }
    page.raw("</p>\n");
}

/// What can be asked for without knowing the parameters.
fn form(page: &mut Page, answer: &Answer, query: &Query) {
    let fields = OF_EITHER.map(|(name, _)| name);
    page.raw("<details class=\"ask\"><summary>Filter and sort</summary>\n<form action=\"/flows\" method=\"get\">\n");
    for (name, value) in Link::to(query, &answer.labels).pairs() {
        if !fields.contains(&name) && !matches!(name, "address" | "sort" | "order" | "limit") {
            page.raw("<input type=\"hidden\" name=\"")
                .text(name)
                .raw("\" value=\"")
                .text(&value)
                .raw("\">\n");
        }
    }
    for name in fields {
        let known = query.filters.iter().find(|filter| filter.name == name);
        let values = known.map_or(&[][..], |filter| &filter.values);
        input(page, name, values.first().map_or("", String::as_str), "either end");
        // One field has one value; others that were asked for stay.
        for value in values.iter().skip(1) {
            page.raw("<input type=\"hidden\" name=\"").raw(name).raw("\" value=\"").text(value).raw("\">\n");
        }
    }
    let address = query.network.map_or(String::new(), |network| network.to_string());
    input(page, "address", &address, "192.0.2.7 or 10.0.0.0/8");
    page.raw("<label>Sort by<select name=\"sort\">");
    for column in Column::names(&answer.labels) {
        option(page, column, &column.replace('_', " "), column == query.sort.name(&answer.labels));
    }
    page.raw("</select></label>\n<label>Order<select name=\"order\">");
    for (order, name) in [(Order::Descending, "largest first"), (Order::Ascending, "smallest first")] {
        option(page, order.as_str(), name, order == query.order);
    }
    page.raw("</select></label>\n<button type=\"submit\">Show</button>\n</form></details>\n");
}

fn input(page: &mut Page, name: &str, value: &str, hint: &str) {
    page.raw("<label>").text(name).raw("<input name=\"").text(name).raw("\" value=\"").text(value);
    page.raw("\" placeholder=\"").raw(hint).raw("\" autocomplete=\"off\" spellcheck=\"false\"></label>\n");
}

fn option(page: &mut Page, value: &str, name: &str, selected: bool) {
    page.raw("<option value=\"").text(value).raw(if selected { "\" selected>" } else { "\">" });
    page.text(name).raw("</option>");
}

fn state(page: &mut Page, answer: &Answer, query: &Query) {
    let what = match (query.by, answer.matched) {
        (By::Address, 1) => "address",
        (By::Address, _) => "addresses",
        (By::Edge, 1) => "edge",
        (By::Edge, _) => "edges",
    };
    page.raw("<p class=\"state\"><b>").text(&grouped(answer.matched as u64)).raw("</b> ").raw(what);
    page.raw(" · ").text(&covered(answer)).raw(" · <time>").text(&time_of_day(answer.generated_at));
    page.raw("</time> UTC</p>\n");
}

/// What the counts cover, which is not quite the window: it begins and ends with a pass.
fn covered(answer: &Answer) -> String {
    let seconds = answer.covered_seconds.round() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("last {seconds}\u{202f}s"),
        (minutes, 0) => format!("last {minutes}\u{202f}min"),
        (minutes, seconds) => format!("last {minutes}\u{202f}min {seconds}\u{202f}s"),
    }
}

fn nothing(page: &mut Page, answer: &Answer, query: &Query) {
    page.raw("<p class=\"nothing\">Nothing was seen");
    if !query.filters.is_empty() || query.network.is_some() {
        page.raw(" of what is asked for. <a href=\"");
        let all = Query { filters: Vec::new(), network: None, ..query.clone() };
        page.text(&Link::to(&all, &answer.labels).text()).raw("\">Ask for all</a>");
    }
    page.raw(".</p>\n");
}

fn notes(page: &mut Page, answer: &Answer, query: &Query) {
    page.raw("<footer>");
    if answer.returned < answer.matched {
        page.raw("<p>")
            .text(&grouped(answer.returned as u64))
            .raw(" of ")
            .text(&grouped(answer.matched as u64));
        page.raw(" rows are shown");
        if query.limit < MOST_ROWS {
            let more = Link::to(query, &answer.labels).limit(MOST_ROWS);
            page.raw("; <a href=\"").text(&more.text()).raw("\">show up to 1 000</a>");
        }
        page.raw(".</p>");
    }
    if answer.evicted_total > 0 || answer.refused_total > 0 {
        page.raw("<p class=\"notice\">Not all is here: <b>").text(&grouped(answer.evicted_total));
        page.raw("</b> addresses made room for newer ones, and <b>").text(&grouped(answer.refused_total));
        page.raw("</b> times there was no room, since the start. <code>--web.flows.addresses</code> makes more.</p>");
    }
    let full = answer.tracked as f64 / answer.capacity.max(1) as f64;
    page.raw("<p>").text(&grouped(answer.tracked as u64)).raw(" addresses are kept (").text(&percent(full));
    page.raw(" of the room). Bars under numbers: share of all rows asked for. <a href=\"");
    let mut link = Link::to(query, &answer.labels).text();
    link.push(if link.contains('?') { '&' } else { '?' });
    page.text(&link).raw("format=json\">As JSON</a></p></footer>\n");
}
