// SPDX-License-Identifier: Apache-2.0
//! Files in which the operator says what cannot be found out: read at the start, watched, read again when they change.

pub(crate) mod yaml;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::file::{Signature, open_regular, read_open};
use crate::status::SourceStatus;
pub use yaml::Fault;

/// Why a file is refused.
#[derive(thiserror::Error, Debug)]
pub enum FileError {
    /// It cannot be read.
    #[error("{what} {}: {source}", path.display())]
    Read {
        /// Which of the operator's files.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The system's reason, or its being too large or no regular file.
        source: io::Error,
    },
    /// Its content is wrong.
    #[error("{what} {}:{fault}", path.display())]
    Content {
        /// Which of the operator's files.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong in it, and where.
        fault: Fault,
    },
}

/// What a file says.
pub(crate) trait Content: PartialEq + Sized {
    /// As people call the file.
    const WHAT: &'static str;
    /// As [`SourceStatus::source`] calls it.
    const SOURCE: &'static str;
    /// Larger files are not read.
    const MAX_BYTES: u64;

    /// # Errors
    /// The first fault in the order of the file.
    fn parse(bytes: &[u8]) -> Result<Self, Fault>;

    /// Number of entries.
    fn len(&self) -> usize;
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

/// A file that is watched, and what was last read from it.
#[derive(Debug)]
pub(crate) struct OperatorFile<T> {
    path: PathBuf,
    content: RwLock<Arc<T>>,
    state: Mutex<State>,
}

impl<T: Content> OperatorFile<T> {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or is wrong.
    pub fn open(path: PathBuf) -> Result<Self, FileError> {
        let (signature, content) = load(&path);
        let state = State { read: signature, unsettled: None, error: None, reloads: 0, reloads_failed: 0 };
        Ok(OperatorFile { content: RwLock::new(Arc::new(content?)), path, state: Mutex::new(state) })
    }

    /// What the last good file said.
    pub fn content(&self) -> Arc<T> {
        self.content.read().clone()
    }

    /// Reads the file again if it is another one, or was written to. True when it says something else now.
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

    /// Reads the file again whatever it looks like. True when it says something else now.
    pub fn reload(&self) -> bool {
        self.read_again(&mut self.state.lock())
    }

    fn read_again(&self, state: &mut State) -> bool {
        let (signature, result) = load::<T>(&self.path);
        state.read = signature;
        state.unsettled = None;
        match result {
            Ok(content) => {
                let changed = **self.content.read() != content;
                if changed || state.error.is_some() {
                    tracing::info!(file = %self.path.display(), entries = content.len(), "{} read", T::WHAT);
                }
                state.error = None;
                if changed {
                    state.reloads += 1;
                    *self.content.write() = Arc::new(content);
                }
                changed
            }
            Err(error) => {
                state.reloads_failed += 1;
                let error = error.to_string();
                if state.error.as_ref() != Some(&error) {
                    tracing::warn!(%error, "{} refused; keeping what was read before", T::WHAT);
                }
                state.error = Some(error);
                false
            }
        }
    }

    pub fn status(&self) -> SourceStatus {
        let state = self.state.lock();
        let entries = self.content.read().len();
        let detail = match &state.error {
            Some(error) => format!("{error}; keeping the {entries} entries read before"),
            None => format!("{}: {entries} entries", self.path.display()),
        };
        SourceStatus {
            entries: entries as u64,
            reloads: state.reloads,
            reloads_failed: state.reloads_failed,
            ..SourceStatus::new(T::SOURCE, state.error.is_none(), detail)
        }
    }
}

/// Reads a file as the exporter would and tells the number of its entries.
///
/// # Errors
/// It cannot be read or is wrong.
pub(crate) fn check<T: Content>(path: &Path) -> Result<usize, FileError> {
    load::<T>(path).1.map(|content| content.len())
}

/// The file's signature at the moment it was opened, if it could be, and its content.
fn load<T: Content>(path: &Path) -> (Option<Signature>, Result<T, FileError>) {
    let unreadable = |source| FileError::Read { what: T::WHAT, path: path.to_owned(), source };
    let (file, metadata) = match open_regular(path) {
        Ok(opened) => opened,
        Err(source) => {
            // Known by its signature nevertheless, so that an unreadable file is complained about once.
            let signature = std::fs::metadata(path).ok().map(|m| Signature::from(&m));
            return (signature, Err(unreadable(source)));
        }
    };
    let content = read_open(file, T::MAX_BYTES).map_err(unreadable).and_then(|bytes| {
        T::parse(&bytes).map_err(|fault| FileError::Content { what: T::WHAT, path: path.to_owned(), fault })
    });
    (Some(Signature::from(&metadata)), content)
}
