// SPDX-License-Identifier: Apache-2.0
//! What keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::flags::{RowsBy, View};

/// What somebody at the keyboard wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End.
    Quit,
    /// Show or hide the help.
    Help,
    /// Go up or down so many rows.
    Move(isize),
    /// Go a page up (-1) or down (1).
    Page(isize),
    /// Go to the first row.
    First,
    /// Go to the last row.
    Last,
    /// Show other rows.
    By(RowsBy),
    /// Show the addresses behind the selected edge.
    Open,
    /// Go back to where the addresses were asked for.
    Back,
    /// The next longer window, the shortest after the longest.
    Window,
    /// Sort by the next (1) or the previous (-1) column.
    Sort(isize),
    /// Turn the order round.
    Reverse,
    /// Show other columns.
    View(View),
    /// Show the next columns.
    NextView,
    /// Ask no more, or ask again.
    Pause,
    /// Ask at once.
    Refresh,
    /// Begin to write a filter.
    Filter,
    /// Do without a filter.
    ClearFilter,
}

/// What is done to the filter that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Write a character.
    Write(char),
    /// Take the last one away.
    Erase,
    /// Take all away.
    EraseAll,
    /// Use it.
    Use,
    /// Leave it as it was.
    Cancel,
    /// End the program.
    Quit,
}

/// All keys, as the help tells them.
pub const HELP: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("Up Down PgUp PgDn Home End", "select a row (also k j g G)"),
    ("e, a", "one row for each edge, for each remote address"),
    ("Enter, Backspace", "the addresses behind the selected edge, and back"),
    ("Tab, 1 to 5", "columns: traffic, loss, connect, dns, http"),
    ("<  >, r", "sort by the previous or next column, reverse"),
    ("w", "window: 1, 5, 15 minutes"),
    ("/, c", "filter, clear: LABEL=VALUE, address, part of name"),
    ("p, Space", "pause, ask at once"),
];

/// The keys that fit in a line of 80 characters.
pub const LINE: &[(&str, &str)] = &[
    ("q", "quit"),
    ("?", "help"),
    ("e", "edges"),
    ("a", "addresses"),
    ("Enter", "open"),
    ("Tab", "view"),
    ("<>r", "sort"),
    ("/", "filter"),
];

/// What a key means while the table is shown.
pub fn command(key: KeyEvent) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'd') => Some(Command::Quit),
            KeyCode::Char('l') => Some(Command::Refresh),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Char('q') => Command::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Command::Help,
        KeyCode::Up | KeyCode::Char('k') => Command::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Command::Move(1),
        KeyCode::PageUp => Command::Page(-1),
        KeyCode::PageDown => Command::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Command::First,
        KeyCode::End | KeyCode::Char('G') => Command::Last,
        KeyCode::Char('e') => Command::By(RowsBy::Edge),
        KeyCode::Char('a') => Command::By(RowsBy::Address),
        KeyCode::Enter => Command::Open,
        KeyCode::Backspace | KeyCode::Esc => Command::Back,
        KeyCode::Char('w') => Command::Window,
        KeyCode::Char('>' | 's') | KeyCode::Right => Command::Sort(1),
        KeyCode::Char('<' | 'S') | KeyCode::Left => Command::Sort(-1),
        KeyCode::Char('r') => Command::Reverse,
        KeyCode::Tab => Command::NextView,
        KeyCode::Char('1') => Command::View(View::Traffic),
        KeyCode::Char('2') => Command::View(View::Loss),
        KeyCode::Char('3') => Command::View(View::Connect),
        KeyCode::Char('4') => Command::View(View::Dns),
        KeyCode::Char('5') => Command::View(View::Http),
        KeyCode::Char('p') => Command::Pause,
        KeyCode::Char(' ') => Command::Refresh,
        KeyCode::Char('/') => Command::Filter,
        KeyCode::Char('c') => Command::ClearFilter,
        _ => return None,
    })
}

/// What a key means while a filter is written.
pub fn edit(key: KeyEvent) -> Option<Edit> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'd') => Some(Edit::Quit),
            KeyCode::Char('u' | 'w') => Some(Edit::EraseAll),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Char(c) => Some(Edit::Write(c)),
        KeyCode::Backspace => Some(Edit::Erase),
        KeyCode::Enter => Some(Edit::Use),
        KeyCode::Esc => Some(Edit::Cancel),
        _ => None,
    }
}
