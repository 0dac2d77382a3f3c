// SPDX-License-Identifier: Apache-2.0

//! An archive in cpio's "newc" format, as the kernel unpacks it at boot (Documentation/driver-api/early-userspace).

use std::collections::BTreeSet;
use std::path::{Component, Path};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written. Parent directories are made as they are needed.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds an empty directory, and its parents.
    pub fn directory(&mut self, path: &str) {
        let mut parent = String::new();
        for part in Path::new(path).components() {
            let Component::Normal(part) = part else { continue };
            if !parent.is_empty() {
                parent.push('/');
            }
            parent.push_str(&part.to_string_lossy());
            if self.directories.insert(parent.clone()) {
                self.entry(&parent, DIRECTORY, (0, 0), &[]);
            }
        }
    }

    /// Adds an executable file (or a library, which needs no fewer rights).
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.parents(path);
        self.entry(path.trim_start_matches('/'), EXECUTABLE, (0, 0), content);
    }

    /// Adds a character device, which the kernel's first process needs before anything is mounted.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path.trim_start_matches('/'), CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some(parent) = Path::new(path).parent() {
            self.directory(&parent.to_string_lossy());
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let size = u32::try_from(content.len()).expect("a file of less than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        self.bytes.extend_from_slice(b"070701");
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0]
            .map(|f| format!("{f:08X}"));
        self.bytes.extend(fields.iter().flat_map(|field| field.bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_is_made_once_and_everything_is_aligned() {
        let mut archive = Archive::default();
        archive.file("/usr/bin/a", b"12345");
        archive.file("/usr/bin/b", b"");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 5, "usr, usr/bin, a, b, trailer");
        assert_eq!(bytes.len() % 4, 0);
    }
}
