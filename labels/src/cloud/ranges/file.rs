// SPDX-License-Identifier: Apache-2.0
//! One file of published ranges, watched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::SOURCE;
use super::parse;
use super::table::Table;
use crate::file::{Signature, open_regular, read_open};
use crate::status::SourceStatus;

/// Largest file that is read, in bytes: eight times the largest published one.
pub const MAX_BYTES: u64 = 32 << 20;

#[derive(Default, Debug)]
struct State {
    /// The file as it was when last read, whether it was good or not; None when it could not be opened.
    read: Option<Signature>,
    /// A file that is being written where it stands, waiting to hold still.
    unsettled: Option<Signature>,
    error: Option<String>,
    reloads: u64,
    reloads_failed: u64,
}

/// A file and the table last read from it.
#[derive(Debug)]
pub(super) struct RangeFile {
    path: PathBuf,
    table: RwLock<Option<Arc<Table>>>,
    state: Mutex<State>,
}

impl RangeFile {
    /// Reads the file. One that cannot be used is read again when it changes.
    pub fn open(path: PathBuf) -> Self {
        let file = RangeFile { path, table: RwLock::default(), state: Mutex::default() };
        {
            let mut state = file.state.lock();
            file.read_again(&mut state);
            // The first time is no reload.
            (state.reloads, state.reloads_failed) = (0, 0);
        }
        file
    }

    /// What was last read; None if nothing ever could be.
    pub fn table(&self) -> Option<Arc<Table>> {
        self.table.read().clone()
    }

    /// Reads the file again if it is another one, or was written to. True when names have changed.
    ///
    /// As with the names file, one that took the place of another is read at once, and one that is written where it
    /// stands when two calls in a row have found it the same.
    pub fn refresh(&self) -> bool {
        let mut state = self.state.lock();
        let now = std::fs::metadata(&self.path).ok().map(|m| Signature::from(&m));
        if now == state.read {
            state.unsettled = None;
            return false;
        }
        let same_file = |a: &Signature, b: &Signature| (a.device, a.inode) == (b.device, b.inode);
        if let (Some(read), Some(now)) = (state.read, now)
            && same_file(&read, &now)
            && state.unsettled != Some(now)
        {
            state.unsettled = Some(now);
            return false;
        }
        self.read_again(&mut state)
    }

    /// Reads the file again whatever it looks like. True when names have changed.
    pub fn reload(&self) -> bool {
        self.read_again(&mut self.state.lock())
    }

    fn read_again(&self, state: &mut State) -> bool {
        let (signature, result) = load(&self.path);
        state.read = signature;
        state.unsettled = None;
        match result {
            Ok(table) => {
                let changed = self.table.read().as_deref() != Some(&table);
                if changed || state.error.is_some() {
                    let (provider, prefixes) = (table.provider.as_str(), table.len());
                    tracing::info!(file = %self.path.display(), provider, prefixes, "cloud ranges read");
                }
                state.error = None;
                if changed {
                    state.reloads += 1;
                    *self.table.write() = Some(Arc::new(table));
                }
                changed
            }
            Err(error) => {
                state.reloads_failed += 1;
                if state.error.as_ref() != Some(&error) {
                    let kept = self.table().map_or(0, |table| table.len());
                    tracing::warn!(
                        error,
                        kept,
                        "cloud ranges refused; what was read of this file before is kept"
                    );
                }
                state.error = Some(error);
                false
            }
        }
    }

    pub fn status(&self) -> SourceStatus {
        let state = self.state.lock();
        let table = self.table();
        let detail = match (&state.error, &table) {
            (Some(error), Some(table)) => {
                format!("{error}; keeping the {} prefixes read before", table.len())
            }
            (Some(error), None) => error.clone(),
            (None, Some(table)) => summary(&self.path, table),
            (None, None) => String::new(),
        };
        SourceStatus {
            entries: table.map_or(0, |table| table.len() as u64),
            reloads: state.reloads,
            reloads_failed: state.reloads_failed,
            ..SourceStatus::new(SOURCE, state.error.is_none(), detail)
        }
    }
}

/// What a file holds, for people.
pub(super) fn summary(path: &Path, table: &Table) -> String {
    format!("{}: {} prefixes of {}", path.display(), table.len(), table.provider.as_str())
}

/// The file's signature at the moment it was opened, if it could be, and its content.
pub(super) fn load(path: &Path) -> (Option<Signature>, Result<Table, String>) {
    let unreadable = |error: std::io::Error| format!("cloud ranges {}: {error}", path.display());
    let (file, metadata) = match open_regular(path) {
        Ok(opened) => opened,
        Err(error) => {
            // Known by its signature nevertheless, so that an unreadable file is complained about once.
            let signature = std::fs::metadata(path).ok().map(|m| Signature::from(&m));
            return (signature, Err(unreadable(error)));
        }
    };
    let table = read_open(file, MAX_BYTES).map_err(unreadable).and_then(|bytes| {
        parse::parse(&bytes).map_err(|fault| match fault.line {
            0 => format!("cloud ranges {}: {fault}", path.display()),
            _ => format!("cloud ranges {}:{fault}", path.display()),
        })
    });
    (Some(Signature::from(&metadata)), table)
}
