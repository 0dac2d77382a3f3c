// SPDX-License-Identifier: Apache-2.0

//! The file system a machine of the matrix boots with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::cpio::Archive;

/// A root file system in memory.
pub struct Initramfs {
    archive: Archive,
    libraries: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// One with busybox, the console, the mount points and `init` as first process.
    pub fn new(init: &[u8]) -> Result<Self> {
        let mut archive = Archive::default();
        for directory in ["proc", "sys", "dev", "tmp", "run", "etc", "var/run"] {
            archive.directory(directory);
        }
        archive.character_device("dev/console", 5, 1);
        archive.file("init", init);
        let mut root = Self { archive, libraries: BTreeSet::new() };
        root.program(Path::new("/bin/busybox"), "/bin/busybox")?;
        Ok(root)
    }

    /// Puts a program of this machine at `path`, together with the libraries it loads.
    pub fn program(&mut self, program: &Path, path: &str) -> Result<()> {
        self.data(program, path)?;
        for library in libraries(program)? {
            if self.libraries.insert(library.clone()) {
                self.data(&library, &library.to_string_lossy())?;
            }
        }
        Ok(())
    }

    /// Puts a file of this machine at `path`.
    pub fn data(&mut self, file: &Path, path: &str) -> Result<()> {
        let content = fs::read(file).with_context(|| file.display().to_string())?;
        self.archive.file(path, &content);
        Ok(())
    }

    /// Writes the archive.
    pub fn write(self, path: &Path) -> Result<()> {
        fs::write(path, self.archive.finish()).with_context(|| path.display().to_string())
    }
}

/// The shared libraries of a program and its loader, as `ldd` resolves them; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if text.contains("statically linked") || complaint.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    ensure!(output.status.success(), "ldd {}: {complaint}", program.display());
    ensure!(!text.contains("not found"), "{} lacks a library:\n{text}", program.display());
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
