// SPDX-License-Identifier: Apache-2.0
//! The capabilities one by one: what each is for, whether it is needed here, and whether it is there.

use std::path::Path;

use caps::{Capability, CapsHashSet};
use flowgauge_labels::{Mode, cgroup_layout};

use super::{Item, Verdict};
use crate::flags::{Flags, ListenAddress};
use crate::{kubernetes, plan, privileges};

/// The first port that anybody may listen on, unless the kernel says otherwise.
const UNPRIVILEGED: u16 = 1024;

/// A capability that a part may need.
struct Need {
    capability: Capability,
    /// What it is for.
    purpose: &'static str,
    /// How bad it is to do without; None if these flags on this host need none.
    without: Option<Verdict>,
    /// What to do without it.
    instead: &'static str,
    /// It is for BPF alone.
    for_bpf: bool,
}

/// All that any part may need, and whether these flags on this host do.
pub fn items(flags: &Flags) -> Vec<Item> {
    match privileges::effective() {
        Ok(effective) => needs(flags).iter().map(|need| item(need, &effective)).collect(),
        Err(error) => vec![Item::fail("capabilities", error.to_string(), "run on Linux 6.1 or newer")],
    }
}

fn item(need: &Need, effective: &CapsHashSet) -> Item {
    let Need { capability, purpose, without, instead, for_bpf } = need;
    let name = capability.to_string();
    if effective.contains(capability) {
        let finding =
            if without.is_some() { purpose.to_string() } else { format!("not needed here: {purpose}") };
        return Item::ok(&name, finding);
    }
    // Of BPF, the kernel takes it instead of those that were once part of it.
    if *for_bpf && effective.contains(&Capability::CAP_SYS_ADMIN) {
        return Item::ok(&name, format!("not there, but CAP_SYS_ADMIN: {purpose}"));
    }
    let finding = format!("missing: {purpose}");
    let remedy = format!(
        "run as root, or give {name} to the service or container (docs/operations.md, Privileges){instead}"
    );
    match without {
        None => Item::ok(&name, format!("not there and not needed: {purpose}")),
        Some(Verdict::Fail) => Item::fail(&name, finding, remedy),
        Some(_) => Item::warn(&name, finding, remedy),
    }
}

fn needs(flags: &Flags) -> Vec<Need> {
    let packets = flags.collector_udp() || flags.collector_dns() || flags.collector_http();
    let bpf = packets || flags.collector_tcp() || flags.collector_drops();
    let when = |needed: bool, verdict| needed.then_some(verdict);
    let in_cluster = matches!(kubernetes::connection(flags), Ok(Some(_)));
    let translations = plan::dials_services(flags);
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    // Where no version 2 hierarchy is mounted, one is, for nobody else to see.
    let mounts = packets && matches!(layout.mode, Mode::Legacy | Mode::Missing) && layout.unified.is_none();
    let outside = translations && !in_network_namespace_of_host(&flags.paths.procfs);
    let unprivileged = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let unprivileged = unprivileged.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(UNPRIVILEGED);
    let is_low = |address: &ListenAddress| matches!(address, ListenAddress::Tcp { port, .. } if (1..unprivileged).contains(port));
    let low = !flags.serving.systemd_socket && flags.listen_addresses.iter().any(is_low);
    let for_bpf = |capability: &Capability| match capability {
        Capability::CAP_BPF | Capability::CAP_PERFMON => true,
        Capability::CAP_NET_ADMIN => !translations,
        _ => false,
    };
    let need = |capability, purpose, without, instead| Need {
        for_bpf: for_bpf(&capability),
        capability,
        purpose,
        without,
        instead,
    };
    let net_admin = match (packets, translations) {
        (true, _) => Some(Verdict::Fail),
        (false, translations) => when(translations, Verdict::Warn),
    };
    vec![
        need(Capability::CAP_BPF, "loads BPF programs and reads their maps", when(bpf, Verdict::Fail), ""),
        need(
            Capability::CAP_PERFMON,
            "lets BPF programs attach to tracepoints and read kernel memory",
            when(bpf, Verdict::Fail),
            "",
        ),
        need(
            Capability::CAP_NET_ADMIN,
            "attaches the programs of udp, dns and http to the root control group; in a cluster lists address translations",
            net_admin,
            "; --no-collector.udp --no-collector.dns --no-collector.http do without",
        ),
        need(
            Capability::CAP_DAC_READ_SEARCH,
            "reads container descriptions, names files and tokens that belong to others",
            Some(Verdict::Warn),
            "; without it containers go by their id",
        ),
        need(
            Capability::CAP_SYS_PTRACE,
            "in a cluster, sees which network namespace a process of another user is in",
            when(in_cluster, Verdict::Warn),
            "; without it pods whose control group says nothing have no name",
        ),
        need(
            Capability::CAP_SYS_ADMIN,
            "enters the host's network namespace for address translations, and mounts the cgroup2 hierarchy where none is",
            when(outside || mounts, Verdict::Warn),
            ", or run in the host's network namespace with cgroup2 mounted",
        ),
        need(
            Capability::CAP_NET_BIND_SERVICE,
            "listens on a port below net.ipv4.ip_unprivileged_port_start",
            when(low, Verdict::Fail),
            ", or choose another --web.listen-address",
        ),
    ]
}

fn in_network_namespace_of_host(procfs: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity =
        |path: &Path| std::fs::metadata(path).map(|namespace| (namespace.dev(), namespace.ino())).ok();
    // Where nothing tells, it is taken for the host's.
    identity(&procfs.join("1/ns/net"))
        .is_none_or(|host| identity(Path::new("/proc/self/ns/net")) == Some(host))
}

#[cfg(test)]
mod tests {
    use caps::{Capability, CapsHashSet};

    use super::{item, needs};
    use crate::check::Verdict;
    use crate::flags::Flags;

    fn verdict(arguments: &[&str], capability: Capability, effective: &[Capability]) -> (Verdict, String) {
        // Whatever the tests run in, there is no cluster.
        let arguments = ["flowgauge", "--labels.kubernetes=off"].iter().chain(arguments);
        let flags = Flags::parse_from(arguments.map(std::ffi::OsString::from)).unwrap();
        let need = needs(&flags).into_iter().find(|need| need.capability == capability).unwrap();
        let item = item(&need, &effective.iter().copied().collect::<CapsHashSet>());
        assert_eq!(item.name, capability.to_string());
        assert_eq!(item.remedy.is_empty(), item.verdict == Verdict::Ok, "{item:?}");
        (item.verdict, item.finding)
    }

    #[test]
    fn one_by_one() {
        use Capability::{
            CAP_BPF, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_PERFMON, CAP_SYS_ADMIN,
            CAP_SYS_PTRACE,
        };
        let none: &[&str] = &[];
        let node_only: &[&str] = &[
            "--no-collector.tcp",
            "--no-collector.udp",
            "--no-collector.dns",
            "--no-collector.http",
            "--no-collector.drops",
        ];
        for (arguments, capability, effective, expected) in [
            (none, CAP_BPF, &[CAP_BPF][..], Verdict::Ok),
            (none, CAP_BPF, &[CAP_PERFMON], Verdict::Fail),
            (none, CAP_PERFMON, &[CAP_SYS_ADMIN], Verdict::Ok),
            (node_only, CAP_BPF, &[], Verdict::Ok),
            (none, CAP_NET_ADMIN, &[CAP_BPF], Verdict::Fail),
            (none, CAP_NET_ADMIN, &[CAP_SYS_ADMIN], Verdict::Ok),
            (none, CAP_DAC_READ_SEARCH, &[CAP_SYS_ADMIN], Verdict::Warn),
            (node_only, CAP_NET_ADMIN, &[], Verdict::Ok),
            (none, CAP_DAC_READ_SEARCH, &[], Verdict::Warn),
            (none, CAP_SYS_PTRACE, &[], Verdict::Ok),
            (none, CAP_NET_BIND_SERVICE, &[], Verdict::Ok),
        ] {
            let (found, finding) = verdict(arguments, capability, effective);
            assert_eq!(found, expected, "{arguments:?} {capability}: {finding}");
        }
        assert!(verdict(none, CAP_BPF, &[]).1.starts_with("missing: loads BPF programs"));
    }

    #[test]
    fn the_manual_has_each() {
        let manual = include_str!("../../../docs/operations.md");
        let flags = Flags::parse_from([std::ffi::OsString::from("flowgauge")]).unwrap();
        for need in needs(&flags) {
            assert!(manual.contains(&format!("| `{}` |", need.capability)), "{}", need.capability);
        }
    }
}
