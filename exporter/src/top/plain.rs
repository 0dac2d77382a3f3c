// SPDX-License-Identifier: Apache-2.0
//! The table as plain text, for `--once`.

use unicode_width::UnicodeWidthStr as _;

use super::columns::{columns, named, names};
use super::format::{count, seconds};
use super::model::Model;
use super::query::window;

/// What a line says in front of the table, and a line for each row. Columns are as wide as what is in them.
pub fn table(model: &Model) -> String {
    let Some(shown) = &model.shown else { return String::new() };
    let (answer, by) = (&shown.answer, shown.query.by);
    let rows = model.rows();
    let numbers = columns(model.view, by);
    let heads = names(by).iter().map(|name| (*name).to_owned());
    let mut lines: Vec<Vec<String>> =
        vec![heads.chain(numbers.iter().map(|column| column.title.to_owned())).collect()];
    lines.extend(rows.iter().map(|row| {
        let texts = numbers.iter().map(|column| column.text(row, answer.covered_seconds));
        named(row, by, true).into_iter().chain(texts).collect()
    }));
    let mut text = format!(
        "{}: {} of {} by {}, last {} ({} known), {} addresses tracked\n",
        &*answer.node,
        rows.len(),
        count(answer.matched.max(rows.len() as f64)),
        shown.query.sort,
        window(shown.query.window),
        seconds(Some(answer.covered_seconds)),
        count(answer.tracked),
    );
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<_> = (0..names(by).len() + numbers.len()).filter_map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(index, (cell, width))| {
            let padding = " ".repeat(width - cell.width());
            if index < names(by).len() { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
