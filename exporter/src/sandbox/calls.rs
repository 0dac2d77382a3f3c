// SPDX-License-Identifier: Apache-2.0
//! seccomp: which system calls a thread may make.
//!
//! Two filters. The first refuses by name what no part of the program ever does and an intruder would like to, with EPERM. The
//! second lets through what the program does and answers everything else with ENOSYS, as a kernel that is too old would:
//! libraries that try a new call first then do without, so that a filter older than its C library harms nobody. Nothing
//! is killed.

mod lists;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::{Role, Wall};
use crate::flags::SeccompMode;

/// A system call, and the conditions under which it is let through: any one of them; none are for always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// From now on, the calling thread and those that it starts may make no calls but those of this role.
pub fn enforce(mode: SeccompMode, role: Role, connects: bool) -> Wall {
    let reason = match (mode, role) {
        (SeccompMode::Off, _) => Some("switched off by --sandbox.seccomp=off"),
        (_, Role::Kubernetes { runs_program: true }) => {
            Some("none: it runs the program that the kubeconfig names")
        }
        _ => None,
    };
    if let Some(reason) = reason {
        return Wall::Absent(reason.to_owned());
    }
    match filters(mode, role, connects)
        .and_then(|filters| filters.iter().try_for_each(|f| seccompiler::apply_filter(f)))
    {
        Ok(()) if mode == SeccompMode::Log => Wall::Up("logs what it would refuse".to_owned()),
        Ok(()) => Wall::Up("system calls".to_owned()),
        Err(error) => Wall::Failed(error.to_string()),
    }
}

fn filters(mode: SeccompMode, role: Role, connects: bool) -> Result<[BpfProgram; 2], seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let (refuse, unknown) = match mode {
        SeccompMode::Log => (SeccompAction::Log, SeccompAction::Log),
        _ => (SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Errno(libc::ENOSYS as u32)),
    };
    let denied = SeccompFilter::new(denied(role, connects), SeccompAction::Allow, refuse, arch)?;
    let allowed = SeccompFilter::new(allowed(role, connects)?, unknown, SeccompAction::Allow, arch)?;
    // Of two that refuse, the kernel takes the error of the one that came last.
    Ok([allowed.try_into()?, denied.try_into()?])
}

/// Whether the thread runs BPF programs that are loaded: those that count, and the one that tells namespaces apart.
const fn runs_programs(role: Role) -> bool {
    matches!(role, Role::Probes { .. } | Role::Netstat)
}

fn denied(role: Role, connects: bool) -> Rules {
    let mut rules: Rules = lists::DENIED.iter().map(|call| (*call, Vec::new())).collect();
    if !runs_programs(role) {
        rules.insert(libc::SYS_bpf, Vec::new());
    }
    if !connects {
        rules.insert(libc::SYS_connect, Vec::new());
    }
    rules
}

fn allowed(role: Role, connects: bool) -> Result<Rules, seccompiler::Error> {
    let mut rules: Rules = lists::ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    if runs_programs(role) {
        rules.insert(libc::SYS_bpf, Vec::new());
    }
    if connects {
        rules.insert(libc::SYS_connect, Vec::new());
    }
    if role == Role::Serving {
        // The file of a Unix socket, at the end.
        rules.extend(lists::UNLINK.iter().map(|call| (*call, Vec::new())));
    }
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    rules.insert(libc::SYS_socket, any_of(0, families.map(|family| (SeccompCmpOp::Eq, family as u64)))?);
    // A thread, never a process. clone3 has its flags where a filter cannot look: it is unknown, so that clone is tried.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, any_of(0, [(SeccompCmpOp::MaskedEq(thread), thread)])?);
    // No memory that is both written and executed, and none that becomes executable.
    let (write, execute) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
    let both = SeccompCmpOp::MaskedEq(write | execute);
    rules
        .insert(libc::SYS_mmap, any_of(2, [0, write, execute].map(|protection| (both.clone(), protection)))?);
    rules.insert(libc::SYS_mprotect, any_of(2, [(SeccompCmpOp::MaskedEq(execute), 0)])?);
    // To this process alone, which is how it aborts.
    let own = [(SeccompCmpOp::Eq, u64::from(std::process::id()))];
    rules.insert(libc::SYS_tgkill, any_of(0, own)?);
    Ok(rules)
}

/// Rules of which each looks at the same argument.
fn any_of<const N: usize>(
    argument: u8,
    values: [(SeccompCmpOp, u64); N],
) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let rule = |(operator, value)| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
        SeccompRule::new(vec![condition])
    };
    Ok(values.into_iter().map(rule).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::{Role, allowed, denied};

    #[test]
    fn no_call_is_both_let_through_and_refused() {
        let probes = Role::Probes { in_cluster: true };
        for (role, connects) in [
            (Role::Serving, false),
            (Role::Serving, true),
            (probes, true),
            (Role::Netstat, false),
            (Role::Waker, false),
        ] {
            let (allowed, denied) = (allowed(role, connects).unwrap(), denied(role, connects));
            let both: Vec<_> = denied.keys().filter(|call| allowed.contains_key(call)).collect();
            assert!(both.is_empty(), "{role:?}: {both:?}");
        }
    }
}
