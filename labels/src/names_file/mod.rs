// SPDX-License-Identifier: Apache-2.0
//! The operator's own names for addresses: `--labels.names-file`. Format and rules: `docs/names-file.md`.

mod parse;
#[cfg(test)]
mod reload_tests;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::Identity;
use crate::file::{Signature, open_regular, read_open};
use crate::status::SourceStatus;
pub use parse::Fault;
use table::Table;

/// Largest names file that is read, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

/// Why a names file is refused.
#[derive(thiserror::Error, Debug)]
pub enum NamesFileError {
    /// It cannot be read.
    #[error("names file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason, or its being too large or no regular file.
        source: io::Error,
    },
    /// Its content is wrong.
    #[error("names file {}:{fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What and where.
        fault: Fault,
    },
}

#[derive(Debug)]
struct State {
    /// The file as it was when last read, whether it was good or not; None when it could not be opened.
    read: Option<Signature>,
    /// A file that is being written where it stands, waiting to hold still.
    unsettled: Option<Signature>,
    error: Option<String>,
    reloads: u64,
    reloads_failed: u64,
}

/// A names file that is watched, and the table last read from it.
#[derive(Debug)]
pub(crate) struct NamesFile {
    path: PathBuf,
    table: RwLock<Arc<Table>>,
    state: Mutex<State>,
}

impl NamesFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or is wrong.
    pub fn open(path: PathBuf) -> Result<Self, NamesFileError> {
        let (signature, table) = load(&path);
        let state = State { read: signature, unsettled: None, error: None, reloads: 0, reloads_failed: 0 };
        Ok(NamesFile { table: RwLock::new(Arc::new(table?)), path, state: Mutex::new(state) })
    }

    /// Who has this address, if the file says so.
    pub fn look_up(&self, addr: IpAddr, port: Option<u16>) -> Option<Identity> {
        self.table.read().look_up(addr, port)
    }

    /// Reads the file again if it is another one, or was written to. True when names have changed.
    ///
    /// A file that took the place of another (rename, ConfigMap) is complete and read at once. One written where it
    /// stands may be half written: it is read when two calls in a row have found it the same.
    pub fn refresh(&self) -> bool {
        let mut state = self.state.lock();
        let now = std::fs::metadata(&self.path).ok().map(|m| Signature::from(&m));
        if now == state.read {
            state.unsettled = None;
            // A file that is missing was complained about when it went.
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
                let changed = **self.table.read() != table;
                if changed || state.error.is_some() {
                    tracing::info!(file = %self.path.display(), entries = table.len(), "names file read");
                }
                state.error = None;
                if changed {
                    state.reloads += 1;
                    *self.table.write() = Arc::new(table);
                }
                changed
            }
            Err(error) => {
                state.reloads_failed += 1;
                let error = error.to_string();
                if state.error.as_ref() != Some(&error) {
                    tracing::warn!(%error, "names file refused; keeping the names read before");
                }
                state.error = Some(error);
                false
            }
        }
    }

    pub fn status(&self) -> SourceStatus {
        let state = self.state.lock();
        let entries = self.table.read().len();
        let detail = match &state.error {
            Some(error) => format!("{error}; keeping the {entries} entries read before"),
            None => format!("{}: {entries} entries", self.path.display()),
        };
        SourceStatus {
            entries: entries as u64,
            reloads: state.reloads,
            reloads_failed: state.reloads_failed,
            ..SourceStatus::new("names_file", state.error.is_none(), detail)
        }
    }
}

/// Reads a names file as the exporter would and tells the number of its entries; for `flowgauge check`.
///
/// # Errors
/// It cannot be read or is wrong.
pub fn check_names_file(path: &Path) -> Result<usize, NamesFileError> {
    load(path).1.map(|table| table.len())
}

/// The file's signature at the moment it was opened, if it could be, and its content.
fn load(path: &Path) -> (Option<Signature>, Result<Table, NamesFileError>) {
    let unreadable = |source| NamesFileError::Read { path: path.to_owned(), source };
    let (file, metadata) = match open_regular(path) {
        Ok(opened) => opened,
        Err(source) => {
            // Known by its signature nevertheless, so that an unreadable file is complained about once.
            let signature = std::fs::metadata(path).ok().map(|m| Signature::from(&m));
            return (signature, Err(unreadable(source)));
        }
    };
    let table = read_open(file, MAX_BYTES).map_err(unreadable).and_then(|bytes| {
        parse::parse(&bytes).map_err(|fault| NamesFileError::Content { path: path.to_owned(), fault })
    });
    (Some(Signature::from(&metadata)), table)
}
