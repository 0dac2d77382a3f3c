// SPDX-License-Identifier: Apache-2.0
//! Address ranges as cloud providers publish them: `--labels.cloud-ranges`. Formats and rules: `docs/cloud.md`.
//!
//! The files are large and not the operator's own, so one that is wrong keeps nothing from starting: it is told, and
//! the others are used.

mod file;
mod parse;
mod table;
#[cfg(test)]
mod tests;
mod workload;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::status::SourceStatus;
use file::RangeFile;
use table::Hit;

pub use file::MAX_BYTES;

/// The name of this source.
const SOURCE: &str = "cloud_ranges";

/// Whose an address is by the published ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    /// Provider and service: `aws-s3`.
    pub workload: Arc<str>,
    /// The provider's region; empty for global and where none is told.
    pub region: Arc<str>,
}

/// All files of `--labels.cloud-ranges`.
#[derive(Debug)]
pub(crate) struct CloudRanges {
    files: Vec<RangeFile>,
    empty: Arc<str>,
}

impl CloudRanges {
    /// Reads the files; what is wrong with one is logged and told by [`Self::status`].
    pub fn open(paths: Vec<PathBuf>) -> Self {
        CloudRanges { files: paths.into_iter().map(RangeFile::open).collect(), empty: Arc::default() }
    }

    /// Whose this address is.
    ///
    /// The longest prefix of all files wins; on one prefix the most specific service. Where that entry tells no region,
    /// the longest prefix of the same provider does that tells one.
    pub fn look_up(&self, addr: IpAddr) -> Option<Range> {
        let tables: Vec<_> = self.files.iter().filter_map(RangeFile::table).collect();
        let hits: Vec<Hit<'_>> = tables.iter().filter_map(|table| table.look_up(addr)).collect();
        // The first of equals.
        let best = hits.iter().rev().max_by_key(|hit| (hit.length, hit.rank))?;
        let of_provider = hits.iter().filter(|hit| hit.provider == best.provider);
        let region = best.own_region().or_else(|| {
            let regions = of_provider.filter_map(|hit| hit.region);
            regions.max_by_key(|(length, _)| *length).map(|(_, region)| region)
        });
        Some(Range { workload: Arc::clone(best.workload), region: region.unwrap_or(&self.empty).clone() })
    }

    /// Reads files again that are others or were written to. True when names have changed.
    pub fn refresh(&self) -> bool {
        // Every one of them, whatever the first says.
        self.files.iter().filter(|file| file.refresh()).count() > 0
    }

    /// Reads all files again. True when names have changed.
    pub fn reload(&self) -> bool {
        self.files.iter().filter(|file| file.reload()).count() > 0
    }

    /// How the files are doing; None if there are none.
    pub fn status(&self) -> Option<SourceStatus> {
        if self.files.is_empty() {
            return None;
        }
        let files: Vec<_> = self.files.iter().map(RangeFile::status).collect();
        let details: Vec<_> = files.iter().map(|file| file.detail.as_str()).collect();
        let up = files.iter().all(|file| file.up);
        Some(SourceStatus {
            entries: files.iter().map(|file| file.entries).sum(),
            reloads: files.iter().map(|file| file.reloads).sum(),
            reloads_failed: files.iter().map(|file| file.reloads_failed).sum(),
            ..SourceStatus::new(SOURCE, up, details.join("; "))
        })
    }
}

/// Reads a file of published ranges as the exporter would, and says what it holds; for `flowgauge check`.
///
/// # Errors
/// Why it cannot be used: file, place and fault.
pub fn check_cloud_ranges(path: &Path) -> Result<String, String> {
    file::load(path).1.map(|table| file::summary(path, &table))
}

/// What [`check_cloud_ranges`] does with the content of a file: public for the fuzzer alone.
///
/// # Errors
/// What is wrong with the content, and where.
#[doc(hidden)]
pub fn fuzz_cloud_ranges(content: &[u8], addresses: &[IpAddr]) -> Result<usize, String> {
    let table = parse::parse(content).map_err(|fault| fault.to_string())?;
    let named = addresses.iter().filter(|addr| table.look_up(**addr).is_some()).count();
    Ok(named)
}
