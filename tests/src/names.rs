// SPDX-License-Identifier: Apache-2.0
//! Names files for `--labels.names-file`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::netns::Host;

/// One entry: these addresses are this workload.
#[derive(Debug, Clone, Default)]
pub struct Name {
    /// Single addresses or CIDRs.
    pub cidrs: Vec<String>,
    /// The workload's name.
    pub workload: String,
    /// Its zone, if any.
    pub zone: Option<String>,
    /// Its namespace, if any.
    pub namespace: Option<String>,
    /// `host` or `external`, if that does not follow from the addresses.
    pub kind: Option<String>,
}

impl Name {
    /// The addresses of a host, under the name that its own cgroup gives it.
    pub fn of(host: &Host) -> Self {
        Self::new(&host.workload, host.addresses())
    }

    /// Addresses under a name of one's own.
    pub fn new(workload: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let cidrs = addresses.into_iter().map(|address| address.to_string()).collect();
        Name { cidrs, workload: workload.to_owned(), ..Name::default() }
    }
}

/// A names file in a directory of its own.
#[derive(Debug)]
pub struct NamesFile {
    directory: TempDir,
}

impl NamesFile {
    /// Writes a file with these entries.
    pub fn new(names: &[Name]) -> Result<Self> {
        let file = NamesFile { directory: TempDir::new().context("making a directory for the names file")? };
        file.write(names)?;
        Ok(file)
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("names.yaml")
    }

    /// The flag that makes the exporter use it.
    pub fn flag(&self) -> String {
        format!("--labels.names-file={}", self.path().display())
    }

    /// Puts a new file in its place, atomically.
    pub fn write(&self, names: &[Name]) -> Result<()> {
        let mut yaml = String::from("names:\n");
        for name in names {
            yaml += &format!("  - cidrs: {:?}\n    workload: {:?}\n", name.cidrs, name.workload);
            let more = [("zone", &name.zone), ("namespace", &name.namespace), ("kind", &name.kind)];
            for (key, value) in more {
                if let Some(value) = value {
                    yaml += &format!("    {key}: {value:?}\n");
                }
            }
        }
        self.write_text(&yaml)
    }

    /// Puts any text in its place, atomically.
    pub fn write_text(&self, text: &str) -> Result<()> {
        let fresh: &Path = &self.directory.path().join("names.yaml.new");
        fs::write(fresh, text)
            .and_then(|()| fs::rename(fresh, self.path()))
            .with_context(|| format!("writing {}", self.path().display()))
    }
}
