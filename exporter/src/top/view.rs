// SPDX-License-Identifier: Apache-2.0
//! Draws what is shown. What is written comes from [`super::answer`], where it is clean already.

mod detail;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table};

use super::answer::Row;
use super::columns::{self, WIDTH, columns, named};
use super::format::{age, count};
use super::keys;
use super::model::{Model, Shown};
use super::query::window;
use super::text::{fit, fit_server};
use crate::flags::{RowsBy, View};

/// From this height on, the selected row is told in full.
const ROOM_FOR_DETAIL: u16 = 16;
/// From this width on, names have their namespace.
const ROOM_FOR_NAMESPACES: u16 = 110;
/// The longest address.
const ADDRESS: usize = 39;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);
const TROUBLE: Style = Style::new().fg(Color::Red);

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, model: &mut Model, now: Instant) {
    let area = frame.area();
    let detail = if area.height >= ROOM_FOR_DETAIL { detail::HEIGHT } else { 0 };
    let [head, table, below, status, help] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(detail),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(model, head.width)), head);
    draw_table(frame, model, table);
    if detail > 0 {
        detail::draw(frame, model, below);
    }
    frame.render_widget(Paragraph::new(status_line(model, now, status.width)), status);
    frame.render_widget(Paragraph::new(help_line()), help);
    if model.help {
        draw_help(frame, model, Rect { height: table.height + below.height, ..table });
    }
}

fn heading(model: &Model, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let node = model.shown.as_ref().map_or("", |shown| &shown.answer.node);
    let tracked =
        model.shown.as_ref().map(|shown| format!("  {} addresses tracked", count(shown.answer.tracked)));
    let first = format!("flowgauge top  {node}  {}{}", model.source, tracked.unwrap_or_default());
    let what = match model.query.by {
        RowsBy::Edge => "edges",
        RowsBy::Address => "addresses",
    };
    let order = if model.query.ascending { "least" } else { "most" };
    let mut second = format!("{what} by {} ({order} first), {}", model.query.sort, span(model));
    if let Some(Shown { answer, .. }) = &model.shown {
        let (shown, matched) = (model.rows().len() as f64, answer.matched);
        second.push_str(&format!(", {} of {}", count(shown), count(matched.max(shown))));
        if answer.evicted_total > 0.0 {
            second.push_str(&format!(", {} forgotten", count(answer.evicted_total)));
        }
    }
    if !model.filter.is_empty() {
        second.push_str(&format!(", filter: {}", super::text::clean(&model.filter)));
    }
    vec![
        Line::styled(format!("{:<width$}", fit(&first, width)), BAR),
        Line::styled(fit(&second, width).into_owned(), BOLD),
    ]
}

/// The window, and how much of it is known.
fn span(model: &Model) -> String {
    let asked = window(model.query.window);
    match &model.shown {
        Some(Shown { answer, .. }) if answer.covered_seconds + 1.0 < answer.window_seconds => {
            format!("last {asked} ({} known)", super::format::seconds(Some(answer.covered_seconds)))
        }
        _ => format!("last {asked}"),
    }
}

fn draw_table(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    model.page = usize::from(area.height.saturating_sub(1)).max(1);
    let (by, view) = (model.by(), model.view);
    let covered = model.shown.as_ref().map_or(0.0, |shown| shown.answer.covered_seconds);
    let mut state = std::mem::take(&mut model.table);
    let rows = model.rows();
    let mut numbers = columns(view, by);
    numbers.truncate(columns_that_fit(area.width));
    let widths = name_widths(&rows, by, numbers.len(), area.width);
    let long = area.width >= ROOM_FOR_NAMESPACES;
    if rows.is_empty() {
        let place =
            Rect { y: area.y.saturating_add(2), height: area.height.saturating_sub(2).min(1), ..area };
        frame.render_widget(Paragraph::new(nothing(model)).alignment(Alignment::Center), place);
    }
    let heads = columns::names(by).iter().map(|name| Cell::from(*name));
    let heads = heads.chain(numbers.iter().map(|column| {
        let style = if column.sort == model.query.sort { BAR } else { Style::new() };
        Cell::from(Line::styled(column.title, style).right_aligned())
    }));
    let cells = rows.iter().map(|row| {
        let names = named(row, by, long);
        let last = names.len().saturating_sub(1);
        let names = names.iter().zip(&widths).enumerate().map(|(index, (name, width))| {
            let fitted = if index == last { fit_server(name, *width) } else { fit(name, *width) };
            Cell::from(fitted.into_owned())
        });
        TableRow::new(
            names.chain(numbers.iter().map(|column| number(column, row, covered))).collect::<Vec<_>>(),
        )
    });
    let room = widths.iter().map(|width| *width as u16).chain(numbers.iter().map(|_| WIDTH as u16));
    let table = Table::new(cells, room.map(Constraint::Length))
        .header(TableRow::new(heads.collect::<Vec<_>>()).style(BOLD))
        .column_spacing(1)
        .row_highlight_style(BAR);
    frame.render_stateful_widget(table, area, &mut state);
    model.table = state;
}

fn number(column: &columns::Column, row: &Row, covered: f64) -> Cell<'static> {
    let text = column.text(row, covered);
    let style = if column.is_trouble(&text) { TROUBLE } else { Style::new() };
    Cell::from(Line::styled(text, style).right_aligned())
}

/// Why there is no row.
fn nothing(model: &Model) -> String {
    match (&model.shown, &model.error) {
        (None, None) => format!("asking {} …", model.source),
        (None, Some(_)) => "nothing known yet".to_owned(),
        (Some(_), _) if model.filter.is_empty() => "no flows in this window".to_owned(),
        (Some(_), _) => "no flows that the filter lets through".to_owned(),
    }
}

/// How many columns of numbers fit beside names that can still be read.
fn columns_that_fit(width: u16) -> usize {
    const NAMES: usize = 24;
    usize::from(width).saturating_sub(NAMES) / (WIDTH + 1)
}

/// How wide the columns of names are, of `width` in all: what the numbers leave.
fn name_widths(rows: &[&Row], by: RowsBy, numbers: usize, width: u16) -> Vec<usize> {
    const OBSERVER: usize = 3;
    let spaces = numbers + columns::names(by).len() - 1;
    let left = usize::from(width).saturating_sub(OBSERVER + numbers * WIDTH + spaces);
    let first = match by {
        RowsBy::Edge => left * 9 / 20,
        RowsBy::Address => {
            let longest =
                rows.iter().filter_map(|row| row.address.as_deref()).map(|a| a.chars().count()).max();
            longest.unwrap_or_default().clamp("ADDRESS".len(), ADDRESS).min(left * 3 / 5)
        }
    };
    vec![OBSERVER, first, left.saturating_sub(first)]
}

fn status_line(model: &Model, now: Instant, width: u16) -> Line<'static> {
    if let Some(text) = &model.editing {
        // The end is where the writing is.
        let room = usize::from(width).saturating_sub("filter: _".len());
        let skipped = text.chars().count().saturating_sub(room);
        let seen: String = text.chars().skip(skipped).collect();
        return Line::from(vec![Span::styled("filter: ", BOLD), Span::raw(seen), Span::styled(" ", BAR)]);
    }
    let old = model.shown.as_ref().map(|shown| age(now.saturating_duration_since(shown.at)));
    match (&model.error, old) {
        (Some(error), Some(old)) => {
            let text = format!("error, data is {old} old: {error}");
            Line::styled(fit(&text, width.into()).into_owned(), TROUBLE)
        }
        (Some(error), None) => {
            Line::styled(fit(&format!("error: {error}"), width.into()).into_owned(), TROUBLE)
        }
        (None, Some(old)) if model.paused => Line::styled(format!("paused, data is {old} old"), BOLD),
        (None, Some(old)) => {
            let every = age(model.interval);
            Line::styled(format!("{} view; {old} old, asked for every {every}", view_name(model.view)), DIM)
        }
        (None, None) => Line::default(),
    }
}

const fn view_name(view: View) -> &'static str {
    match view {
        View::Traffic => "traffic",
        View::Loss => "loss",
        View::Connect => "connect",
        View::Dns => "dns",
        View::Http => "http",
    }
}

fn help_line() -> Line<'static> {
    let keys = keys::LINE
        .iter()
        .flat_map(|(key, meaning)| [Span::styled(*key, BAR), Span::raw(format!(" {meaning}  "))]);
    Line::from(keys.collect::<Vec<_>>())
}

fn draw_help(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let keys = keys::HELP.iter().map(|(key, meaning)| format!("{key:<27} {meaning}"));
    let shown = columns(model.view, model.by()).into_iter();
    let columns = shown.map(|column| format!("{:<27} {}", column.title, column.help));
    let observers = "cli srv cpx spx             watched end: client, server, their sidecar proxies";
    let lines: Vec<_> = keys.chain([String::new()]).chain(columns).chain([observers.to_owned()]).collect();
    let height = (lines.len() as u16 + 2).min(area.height);
    let area = Rect { height, ..area };
    frame.render_widget(Clear, area);
    let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("any key: back")), area);
}

#[cfg(test)]
mod tests;
