// SPDX-License-Identifier: Apache-2.0
//! Small pictures, drawn here: no script, no style attribute.

use std::fmt::Write as _;

use crate::web::html::Page;

/// Height of a course of bars, in its own units.
const HEIGHT: f64 = 16.0;

/// The course of a number over the window as bars, the highest of which fills the height. `what` says what it is.
pub fn course(
    page: &mut Page,
    values: &[u64],
    class: &str,
    what: &str,
    seconds: u32,
    show: fn(u64) -> String,
) {
    let highest = values.iter().copied().max().unwrap_or_default();
    if highest == 0 {
        return;
    }
    let mut path = String::new();
    for (at, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
        // One of many is still to be seen.
        let height = (*value as f64 / highest as f64 * HEIGHT).max(1.5);
        // Writing to a String cannot fail.
        let _ = write!(path, "M{} {HEIGHT}v-{height:.1}", at * 4 + 2);
    }
    let width = values.len() * 4;
    let told = format!("{what} over time, at most {} in {seconds} s", show(highest));
    page.raw("<svg class=\"course ")
        .raw(class)
        .raw("\" role=\"img\" viewBox=\"0 0 ")
        .number(width)
        .raw(" 16\" aria-label=\"");
    page.text(&told).raw("\"><title>").text(&told).raw("</title><path d=\"").raw(&path).raw("\"/></svg>");
}

/// A share as the filled part of a bar.
pub fn share(page: &mut Page, share: f64, class: &str) {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let width = if share > 0.0 { (share * 100.0).max(0.5) } else { 0.0 };
    page.raw("<svg class=\"share ").raw(class);
    page.raw("\" aria-hidden=\"true\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\">");
    page.raw("<rect class=\"all\" width=\"100\" height=\"4\"/><rect width=\"");
    page.number(format_args!("{width:.1}")).raw("\" height=\"4\"/></svg>");
}
