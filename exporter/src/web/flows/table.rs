// SPDX-License-Identifier: Apache-2.0
//! The rows as a table; on a narrow screen, each as a card.

use super::cells::{self, Context};
use crate::flows::{Answer, By, Order, Query};
use crate::web::html::Page;

/// A column: its head, and what it is sorted by.
type Head = (&'static str, &'static str);

const NUMBERS: [Head; 7] = [
    ("Traffic", "bytes"),
    ("Retransmits", "retransmit_ratio"),
    ("Round trip", "rtt_mean"),
    ("Connections", "connections"),
    ("Failed connects", "connect_failures"),
    ("Errors", "errors"),
    ("Last seen", "last_seen"),
];

/// Writes the table. Of one edge alone, the edge is not repeated in each row.
pub fn table(page: &mut Page, answer: &Answer, query: &Query, one_edge: bool) {
    let context = Context { answer, link: super::Link::to(query, &answer.labels) };
    let sorted = query.sort.name(&answer.labels);
    let by_address = query.by == By::Address;
    let edge = (!one_edge).then_some(("Edge", "client_workload"));
    let heads = [
        by_address.then_some(("Address", "address")),
        edge,
        (!by_address).then_some(("Addresses", "addresses")),
    ];
    page.raw("<div class=\"rows\"><table>\n<thead><tr>");
    for (name, column) in heads.into_iter().flatten().chain(NUMBERS) {
        head(page, &context, name, column, (sorted, query.order));
    }
    page.raw("</tr></thead>\n<tbody>\n");
    for row in &answer.rows {
        page.raw("<tr>");
        if by_address {
            cells::address(page, row, &context);
        }
        if !one_edge {
            cells::who(page, row, &context);
        }
        if !by_address {
            cells::addresses(page, row, &context);
        }
        cells::traffic(page, row, &context);
        cells::retransmits(page, row, &context);
        cells::rtt(page, row);
        cells::connections(page, row);
        cells::failures(page, row, &context);
        cells::errors(page, row, &context);
        cells::seen(page, row, &context);
        page.raw("</tr>\n");
    }
    page.raw("</tbody>\n</table></div>\n");
}

/// A head that sorts: the other way round if it does already.
fn head(page: &mut Page, context: &Context<'_>, name: &str, column: &str, (sorted, order): (&str, Order)) {
    let here = sorted == column;
    let text = matches!(column, "address" | "client_workload");
    let first = if text { Order::Ascending } else { Order::Descending };
    let link = context.link.clone().sort(column, if here { order.reversed() } else { first });
    let (direction, mark) = match order {
        Order::Descending => ("descending", " ▾"),
        Order::Ascending => ("ascending", " ▴"),
    };
    page.raw("<th scope=\"col\"");
    if here {
        page.raw(" aria-sort=\"").raw(direction).raw("\"");
    }
    page.raw("><a href=\"").text(&link.text()).raw("\">").raw(name);
    if here {
        page.raw("<span aria-hidden=\"true\">").raw(mark).raw("</span>");
    }
    page.raw("</a></th>");
}

/// The same for screens on which the heads are not seen.
pub fn sort_links(page: &mut Page, answer: &Answer, query: &Query) {
    let sorted = query.sort.name(&answer.labels);
    page.raw("<nav class=\"choice sort\" aria-label=\"Sort by\">");
    for (name, column) in NUMBERS {
        let link = super::Link::to(query, &answer.labels).sort(column, Order::Descending);
        choice(page, name, &link.text(), sorted == column);
    }
    page.raw("</nav>\n");
}

/// One of several links, of which one is where we are.
pub fn choice(page: &mut Page, name: &str, link: &str, here: bool) {
    page.raw("<a href=\"").text(link).raw(if here { "\" aria-current=\"true\">" } else { "\">" });
    page.text(name).raw("</a>");
}
