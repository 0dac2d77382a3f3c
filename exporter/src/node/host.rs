// SPDX-License-Identifier: Apache-2.0
//! Where the files of the host are, and reading them.
//!
//! Three views meet here, and in a container they may differ. `<procfs>/1/net` is the network namespace of the first process,
//! which is the host's; nobody needs a privilege to read it. `<procfs>/sys/net` is that of whoever reads, whichever
//! procfs it is. `<sysfs>/class/net` is that of whoever mounted the sysfs. What cannot be told for certain to be the host's
//! is not served.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Most of a file that is read. `net/dev` of a node with 5,000 interfaces is 0.6 MB.
const LARGEST_FILE: u64 = 4 << 20;

/// Why an item has nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// A file that could not be read, most often because this kernel has none.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A file whose text is not what is known of it.
    #[error("{}: {what}", path.display())]
    Odd {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something that this process is in no place to see, or that this host has none of.
    #[error("{0}")]
    OutOfSight(String),
}

impl Absent {
    /// Whether it is only that this host has no such thing.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Unreadable { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Odd { .. } => false,
            Self::OutOfSight(_) => true,
        }
    }
}

/// The host's trees.
pub struct Host {
    procfs: PathBuf,
    sysfs: PathBuf,
}

/// A file that was read.
pub struct Text {
    path: PathBuf,
    text: String,
}

impl Host {
    /// Below these mounts.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), sysfs: sysfs.to_owned() }
    }

    /// A file of procfs that knows no namespaces.
    pub fn proc(&self, file: &str) -> Result<Text, Absent> {
        read(self.procfs.join(file))
    }

    /// A file below `/proc/net` of the host's network namespace.
    pub fn net(&self, file: &str) -> Result<Text, Absent> {
        read(self.procfs.join("1/net").join(file))
    }

    /// Where sysfs has the network interfaces.
    pub fn interfaces(&self) -> PathBuf {
        self.sysfs.join("class/net")
    }

    /// A file of a network interface.
    pub fn interface(&self, device: &str, file: &str) -> Result<Text, Absent> {
        read(self.interfaces().join(device).join(file))
    }

    /// That this process is in the host's network namespace, as far as settings and sockets of its own shall be the host's.
    ///
    /// Each namespace has entries of its own below `/proc/net`, whose numbers are the same in every mount of procfs; unlike
    /// those below `/proc/1/ns` they are for everybody to see.
    pub fn require_inside(&self) -> Result<(), Absent> {
        let number = |path: PathBuf| match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.ino()),
            Err(error) => Err(Absent::Unreadable { path, error }),
        };
        let host = number(self.procfs.join("1/net/dev"))?;
        // Not below --path.procfs, which need not know this process.
        if host == number("/proc/thread-self/net/dev".into())? {
            return Ok(());
        }
        Err(Absent::OutOfSight(
            "seen from the host's network namespace only, and flowgauge does not run in it".to_owned(),
        ))
    }
}

impl Text {
    /// The text.
    pub fn lines(&self) -> std::str::Lines<'_> {
        self.text.lines()
    }

    /// Its bytes, for the decoders of the procfs crate.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The number in a column, counted from 0, of a file that is one line of decimal numbers.
    pub fn number(&self, column: usize) -> Result<f64, Absent> {
        let word = self.text.split_whitespace().nth(column);
        let number = word.and_then(|word| word.parse::<u64>().ok());
        number
            .map(|number| number as f64)
            .ok_or_else(|| self.odd(format!("no number in column {}", column + 1)))
    }

    /// That it is not as expected.
    pub fn odd(&self, what: impl Into<String>) -> Absent {
        Absent::Odd { path: self.path.clone(), what: what.into() }
    }
}

fn read(path: PathBuf) -> Result<Text, Absent> {
    // Procfs does not tell sizes: room enough for most files at once spares it from making them twice.
    let mut bytes = Vec::with_capacity(8 << 10);
    match File::open(&path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Text { path, text: String::from_utf8_lossy(&bytes).into_owned() }),
        Err(error) => Err(Absent::Unreadable { path, error }),
    }
}

#[cfg(test)]
impl Host {
    /// A host of files in a directory of its own: `proc/…` and `sys/…`.
    pub fn of_files(files: &[(&str, &str)]) -> (Self, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (Self::new(&root.path().join("proc"), &root.path().join("sys")), root)
    }
}
