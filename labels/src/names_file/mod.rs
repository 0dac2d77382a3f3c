// SPDX-License-Identifier: Apache-2.0
//! The operator's own names for addresses: `--labels.names-file`. Format and rules: `docs/names-file.md`.

pub(crate) mod parse;
#[cfg(test)]
mod reload_tests;
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;

use crate::Identity;
use crate::operator_file::{Content, Fault, FileError, OperatorFile, check};
use table::Table;

/// Largest names file that is read, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

impl Content for Table {
    const WHAT: &'static str = "names file";
    const SOURCE: &'static str = "names_file";
    const MAX_BYTES: u64 = MAX_BYTES;

    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        parse::parse(bytes)
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// A names file that is watched, and the table last read from it.
pub(crate) type NamesFile = OperatorFile<Table>;

impl NamesFile {
    /// Who has this address, if the file says so.
    pub fn look_up(&self, addr: IpAddr, port: Option<u16>) -> Option<Identity> {
        self.content().look_up(addr, port)
    }
}

/// Reads a names file as the exporter would and tells the number of its entries; for `flowgauge check`.
///
/// # Errors
/// It cannot be read or is wrong.
pub fn check_names_file(path: &Path) -> Result<usize, FileError> {
    check::<Table>(path)
}
