// SPDX-License-Identifier: Apache-2.0
//! Open files, of which sockets are some.

use super::host::{Absent, Host};
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::Gauge;

static HANDLES: Family = plain(
    "node_file_handles",
    Gauge,
    &[],
    "Open files of the whole machine, sockets included.",
    "/proc/sys/fs/file-nr, first number",
);
static LIMIT: Family = plain(
    "node_file_handles_limit",
    Gauge,
    &[],
    "Most open files of the whole machine; beyond it neither files nor sockets can be opened.",
    "/proc/sys/fs/file-nr, third number",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&HANDLES, &LIMIT];

/// Reads `/proc/sys/fs/file-nr`.
pub struct FileHandles;

impl Item for FileHandles {
    fn name(&self) -> Name {
        "file_handles"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let text = host.proc("sys/fs/file-nr")?;
        out.one(&HANDLES, text.number(0)?);
        out.one(&LIMIT, text.number(2)?);
        Ok(())
    }
}
