// SPDX-License-Identifier: Apache-2.0
//! What is shown, and what becomes of it when keys are pressed and answers come. Draws nothing, asks nobody.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyEvent, KeyEventKind};
use ratatui::widgets::TableState;

use super::answer::{Answer, Row};
use super::columns::sorts;
use super::keys::{self, Command, Edit};
use super::query::{Filter, Query};
use crate::flags::{RowsBy, TopFlags, View, Window};

/// Longest filter that can be written.
const MAX_FILTER: usize = 512;

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Draw.
    Draw,
    /// Ask what [`Model::query`] says now, and draw.
    Ask,
    /// End.
    Quit,
}

/// The last answer.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it answers.
    pub query: Query,
    /// What the exporter said.
    pub answer: Answer,
    /// When it came.
    pub at: Instant,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Model {
    /// Where the answers come from, for the head.
    pub source: String,
    /// What is asked for now.
    pub query: Query,
    /// Which columns.
    pub view: View,
    /// Time between two questions.
    pub interval: Duration,
    /// The last answer; stays when the next one is an error.
    pub shown: Option<Shown>,
    /// Why the last question has no answer.
    pub error: Option<String>,
    /// Nothing is asked but what keys ask for.
    pub paused: bool,
    /// The help is shown.
    pub help: bool,
    /// The filter in force, as written.
    pub filter: String,
    /// The filter that is being written.
    pub editing: Option<String>,
    /// Selected row and first row on the screen.
    pub table: TableState,
    /// Rows that fit on the screen, as last drawn.
    pub page: usize,
    /// Where to go back to.
    back: Option<(Query, String, View)>,
}

impl Model {
    /// The beginning, before anything is known.
    pub fn new(flags: &TopFlags) -> Self {
        let query = Query::new(flags);
        let asked = query.filter.asked.iter().map(|(name, value)| format!("{name}={value}"));
        let words: Vec<_> = asked.chain(query.filter.contains.iter().cloned()).collect();
        Self {
            source: super::text::clean(&flags.url.to_string()),
            filter: words.join(" "),
            query,
            view: flags.view,
            interval: flags.interval,
            shown: None,
            error: None,
            paused: false,
            help: false,
            editing: None,
            table: TableState::default(),
            page: 1,
            back: None,
        }
    }

    /// The rows to show.
    pub fn rows(&self) -> Vec<&Row> {
        let Some(shown) = &self.shown else { return Vec::new() };
        let contains = &self.query.filter.contains;
        shown.answer.rows().iter().filter(|row| contains.iter().all(|text| row.mentions(text))).collect()
    }

    /// What the rows are: the last answer may be one to an earlier question.
    pub fn by(&self) -> RowsBy {
        self.shown.as_ref().map_or(self.query.by, |shown| shown.query.by)
    }

    /// The selected row.
    pub fn selected(&self) -> Option<&Row> {
        self.rows().get(self.table.selected()?).copied()
    }

    /// Takes over an answer, or why there is none.
    pub fn take(&mut self, query: &Query, answer: Result<Answer, String>, at: Instant) {
        // The reader stays at the row, wherever that goes.
        let before = self.selected().cloned();
        match answer {
            Ok(answer) => {
                self.shown = Some(Shown { query: query.clone(), answer, at });
                self.error = None;
            }
            Err(error) => self.error = Some(super::text::clean(&error)),
        }
        let rows = self.rows();
        let found = before.and_then(|before| rows.iter().position(|row| row.is_same(&before)));
        let last = rows.len().checked_sub(1);
        let index = found.or(self.table.selected()).unwrap_or_default();
        self.table.select(last.map(|last| index.min(last)));
    }

    /// What a key does.
    pub fn press(&mut self, key: KeyEvent) -> Effect {
        if self.editing.is_some() {
            return keys::edit(key).map_or(Effect::Draw, |edit| self.edit(edit));
        }
        let command = keys::command(key);
        // Any key leaves the help; what it means otherwise can wait.
        if self.help && key.kind != KeyEventKind::Release {
            self.help = false;
            return if command == Some(Command::Quit) { Effect::Quit } else { Effect::Draw };
        }
        command.map_or(Effect::Draw, |command| self.obey(command))
    }

    fn edit(&mut self, edit: Edit) -> Effect {
        let Some(text) = &mut self.editing else { return Effect::Draw };
        match edit {
            Edit::Write(c) if text.len() < MAX_FILTER && !c.is_control() => text.push(c),
            Edit::Write(_) => {}
            Edit::Erase => drop(text.pop()),
            Edit::EraseAll => text.clear(),
            Edit::Cancel => self.editing = None,
            Edit::Quit => return Effect::Quit,
            Edit::Use => {
                let text = std::mem::take(text);
                self.editing = None;
                return self.set_filter(text.trim().to_owned());
            }
        }
        Effect::Draw
    }

    fn set_filter(&mut self, text: String) -> Effect {
        self.query.filter = Filter::parse(text.split_whitespace());
        self.filter = text;
        self.table = TableState::default().with_selected(0);
        Effect::Ask
    }

    fn obey(&mut self, command: Command) -> Effect {
        match command {
            Command::Quit => return Effect::Quit,
            Command::Help => self.help = true,
            Command::Move(rows) => self.go(rows),
            Command::Page(pages) => self.go(pages * self.page.max(1).cast_signed()),
            Command::First => self.go(isize::MIN),
            Command::Last => self.go(isize::MAX),
            Command::By(by) => {
                self.query.by = by;
                return Effect::Ask;
            }
            Command::Open => return self.open(),
            Command::Back => {
                let Some((query, filter, view)) = self.back.take() else { return Effect::Draw };
                (self.query, self.filter, self.view) = (query, filter, view);
                return Effect::Ask;
            }
            Command::Window => {
                self.query.window = match self.query.window {
                    Window::One => Window::Five,
                    Window::Five => Window::Fifteen,
                    Window::Fifteen => Window::One,
                };
                return Effect::Ask;
            }
            Command::Sort(step) => return self.sort(step),
            Command::Reverse => {
                self.query.ascending = !self.query.ascending;
                return Effect::Ask;
            }
            Command::View(view) => self.view = view,
            Command::NextView => {
                self.view = match self.view {
                    View::Traffic => View::Loss,
                    View::Loss => View::Connect,
                    View::Connect => View::Dns,
                    View::Dns => View::Http,
                    View::Http => View::Traffic,
                };
            }
            Command::Pause => {
                self.paused = !self.paused;
                return if self.paused { Effect::Draw } else { Effect::Ask };
            }
            Command::Refresh => return Effect::Ask,
            Command::Filter => self.editing = Some(self.filter.clone()),
            Command::ClearFilter => return self.set_filter(String::new()),
        }
        Effect::Draw
    }

    fn go(&mut self, rows: isize) {
        let Some(last) = self.rows().len().checked_sub(1) else { return };
        let at = self.table.selected().unwrap_or_default();
        self.table.select(Some(at.saturating_add_signed(rows).min(last)));
    }

    fn sort(&mut self, step: isize) -> Effect {
        let sorts = sorts(self.view, self.query.by);
        let at = sorts.iter().position(|sort| *sort == self.query.sort).unwrap_or_default();
        let next = (at.cast_signed() + step).rem_euclid(sorts.len().cast_signed());
        self.query.sort = sorts.get(next.cast_unsigned()).copied().unwrap_or("bytes").to_owned();
        Effect::Ask
    }

    /// Asks for the addresses behind the selected edge.
    fn open(&mut self) -> Effect {
        let by_edge = self.by() == RowsBy::Edge && self.query.by == RowsBy::Edge;
        let Some(row) = self.selected().filter(|_| by_edge) else { return Effect::Draw };
        let labels = row.edge.0.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let mut asked: Vec<_> = labels.collect();
        let others = self.query.filter.asked.iter();
        // What else was asked for stays: an address, a parameter that is no label.
        let others = others.filter(|(name, _)| !row.edge.0.contains_key(name.as_str())).cloned();
        asked.splice(0..0, others);
        let filter = asked.iter().filter(|(_, value)| !value.is_empty());
        let text: Vec<_> = filter.map(|(name, value)| format!("{name}={value}")).collect();
        self.back = Some((self.query.clone(), std::mem::take(&mut self.filter), self.view));
        self.query.by = RowsBy::Address;
        self.query.filter = Filter { asked, contains: Vec::new() };
        if self.query.sort == "addresses" {
            self.query.sort = "bytes".to_owned();
        }
        self.filter = text.join(" ");
        self.table = TableState::default().with_selected(0);
        Effect::Ask
    }
}

#[cfg(test)]
mod tests;
