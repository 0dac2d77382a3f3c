// SPDX-License-Identifier: Apache-2.0
//! The root of the version 2 hierarchy of control groups, where the programs are attached.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;

/// Magic number of a version 2 hierarchy (`CGROUP2_SUPER_MAGIC`, include/uapi/linux/magic.h).
const MAGIC: i64 = 0x6367_7270;

/// The inode of a hierarchy's root (`kernfs_root`).
const ROOT: u64 = 1;

/// Opens the root: that at `path` if there is one, else a mount of our own that nobody else sees.
///
/// # Errors
/// When `path` is something else, or nothing is mounted and mounting is not permitted.
pub(super) fn open(path: Option<&Path>) -> Result<OwnedFd, Error> {
    match path {
        Some(path) => {
            let step = || format!("opening the control groups at {}", path.display());
            let root = File::open(path).map_err(|error| Error::os(step(), error))?;
            check(&root).map_err(|error| Error::Kernel { step: step(), source: error })?;
            Ok(root.into())
        }
        None => mount(),
    }
}

fn check(root: &File) -> io::Result<()> {
    // SAFETY: an open descriptor and room for the answer, which integers alone make up.
    let kind = unsafe {
        let mut answer: libc::statfs = std::mem::zeroed();
        if libc::fstatfs(root.as_raw_fd(), &raw mut answer) != 0 {
            return Err(io::Error::last_os_error());
        }
        answer.f_type
    };
    if kind as i64 != MAGIC {
        return Err(io::Error::other("this is no version 2 hierarchy"));
    }
    if root.metadata()?.ino() != ROOT {
        return Err(io::Error::other(
            "this is not the root of the hierarchy, but that of a control group namespace: give the host's with --path.cgroup",
        ));
    }
    Ok(())
}

fn mount() -> Result<OwnedFd, Error> {
    let step = "mounting the version 2 hierarchy of control groups, which this host has nowhere";
    let name = CString::from(c"cgroup2");
    // SAFETY: system calls with numbers and a string that ends with zero; what they return is checked.
    let mounted = unsafe {
        let context = libc::syscall(libc::SYS_fsopen, name.as_ptr(), libc::FSOPEN_CLOEXEC);
        if context < 0 {
            return Err(Error::last_os(step));
        }
        let context = OwnedFd::from_raw_fd(context as i32);
        let none = std::ptr::null::<u8>();
        let created =
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), libc::FSCONFIG_CMD_CREATE, none, none, 0);
        if created != 0 {
            return Err(Error::last_os(step));
        }
        let mounted = libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, 0);
        if mounted < 0 {
            return Err(Error::last_os(step));
        }
        OwnedFd::from_raw_fd(mounted as i32)
    };
    let root = File::from(mounted);
    check(&root).map_err(|error| Error::Kernel { step: step.to_owned(), source: error })?;
    Ok(root.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_hierarchy_is_refused() {
        let error = open(Some(Path::new("/proc"))).unwrap_err().to_string();
        assert!(error.contains("/proc") && error.contains("no version 2 hierarchy"), "{error}");
        assert!(open(Some(Path::new("/nowhere"))).is_err());
    }
}
