// SPDX-License-Identifier: Apache-2.0
//! What can go wrong between user space and the kernel.

/// A probe that does not work, with the step that failed and what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no type information of its own.
    #[error(
        "no kernel type information at {path}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoBtf {
        /// Where it was looked for.
        path: String,
        /// Why it could not be read.
        source: std::io::Error,
    },
    /// Loading or attaching was refused for want of privilege.
    #[error(
        "{step}: not permitted; run as root or give the process CAP_BPF and CAP_PERFMON, for UDP and DNS CAP_NET_ADMIN as well"
    )]
    NotPermitted {
        /// What was being done.
        step: String,
    },
    /// The kernel could not give the memory.
    #[error(
        "{step}: the kernel refused the memory; raise the memory limit of the process's cgroup (or RLIMIT_MEMLOCK)"
    )]
    NoMemory {
        /// What was being done.
        step: String,
    },
    /// The kernel refused it for another reason.
    #[error("{step}: {source}")]
    Kernel {
        /// What was being done.
        step: String,
        /// The kernel's or libbpf's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// An error of libbpf, told apart by its kind.
    pub(crate) fn libbpf(step: impl Into<String>, error: libbpf_rs::Error) -> Self {
        let step = step.into();
        match error.kind() {
            // EPERM. The verifier's EACCES is of the same kind, but no privilege would help there.
            libbpf_rs::ErrorKind::PermissionDenied if format!("{error:#}").contains("(os error 1)") => {
                Error::NotPermitted { step }
            }
            libbpf_rs::ErrorKind::OutOfMemory => Error::NoMemory { step },
            _ => Error::Kernel { step, source: std::io::Error::other(format!("{error:#}")) },
        }
    }

    /// The last system call's error.
    pub(crate) fn last_os(step: impl Into<String>) -> Self {
        Self::os(step, std::io::Error::last_os_error())
    }

    /// A system call's error.
    pub(crate) fn os(step: impl Into<String>, source: std::io::Error) -> Self {
        let step = step.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NotPermitted { step },
            Some(libc::ENOMEM) => Error::NoMemory { step },
            _ => Error::Kernel { step, source },
        }
    }
}
