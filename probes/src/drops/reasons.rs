// SPDX-License-Identifier: Apache-2.0
//! Why the kernel drops packets, by its own names: their numbers change from kernel to kernel.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use libbpf_rs::btf::{Btf, types};

use crate::Error;
use crate::kernel::{tracepoint_arguments, vmlinux};

/// Reasons that are no loss, of all kernels that know them. What each is, and why it is here, is in `docs/operations.md`.
pub const LEFT_OUT: [&str; 11] = [
    // Nothing was dropped.
    "NOT_DROPPED_YET",
    "CONSUMED",
    // No reason at all: mostly the ordinary end of what needed none.
    "NOT_SPECIFIED",
    // What waited when its socket or queue was closed.
    "QUEUE_PURGE",
    "SOCKET_CLOSE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    // Others' packets, and copies.
    "OTHERHOST",
    "IPV6_NDISC_NS_OTHERHOST",
    "TAP_TXFILTER",
    "PACKET_SOCK_ERROR",
];

/// The same of whole subsystems: a copy for a monitor interface that takes no more.
const LEFT_OUT_SUBSYSTEMS: [&str; 1] = ["MAC80211_MONITOR"];

/// What the program can tell one from another (`CORE_REASONS`).
pub(super) const CORE_REASONS: u32 = 256;

/// The lower half of a reason is the subsystem's own.
const SUBSYSTEM_SHIFT: u32 = 16;

/// The names of the running kernel.
pub(super) struct Reasons {
    /// Of the kernel's own reasons.
    core: BTreeMap<u32, Arc<str>>,
    /// Of the subsystems that have reasons of their own.
    subsystems: BTreeMap<u32, Arc<str>>,
    unknown: Arc<str>,
}

/// The reasons, and whether the tracepoint tells which socket a packet was meant for.
pub(super) fn of_this_kernel() -> Result<(Reasons, bool), Error> {
    let btf = vmlinux()?;
    let refused = |why: &str| Error::Kernel {
        step: "attaching to the tracepoint kfree_skb".to_owned(),
        source: io::Error::other(why.to_owned()),
    };
    let Some(arguments) = tracepoint_arguments(&btf, "kfree_skb") else {
        return Err(refused("this kernel has no such tracepoint"));
    };
    let reasons = Reasons::new(
        &members(&btf, "skb_drop_reason").unwrap_or_default(),
        &members(&btf, "skb_drop_reason_subsys").unwrap_or_default(),
    );
    if arguments < 3 || reasons.core.is_empty() {
        return Err(refused("this kernel gives no reason for drops (5.17 and newer do)"));
    }
    Ok((reasons, arguments > 3))
}

/// The members of an enumeration.
fn members(btf: &Btf<'_>, name: &str) -> Option<Vec<(String, i64)>> {
    let all = btf.type_by_name::<types::Enum<'_>>(name)?;
    let member = |member: types::EnumMember<'_>| Some((member.name?.to_str()?.to_owned(), member.value));
    Some(all.iter().filter_map(member).collect())
}

impl Reasons {
    fn new(core: &[(String, i64)], subsystems: &[(String, i64)]) -> Self {
        let named = |all: &[(String, i64)], prefixes: [&str; 2], most: u32| {
            let named = all.iter().filter_map(|(name, value)| {
                let name = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
                let number = u32::try_from(*value).ok().filter(|number| *number < most)?;
                (!["MAX", "NUM"].contains(&name)).then(|| (number, Arc::from(name)))
            });
            named.collect::<BTreeMap<u32, Arc<str>>>()
        };
        let mut subsystems = named(subsystems, ["SKB_DROP_REASON_SUBSYS_", ""], 64);
        subsystems.retain(|number, _| *number != 0);
        Self {
            core: named(core, ["SKB_DROP_REASON_", "SKB_"], CORE_REASONS),
            subsystems,
            unknown: "UNKNOWN".into(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.core.len() + self.subsystems.len()
    }

    /// The name of a reason that the program counted.
    pub(super) fn name(&self, reason: u32) -> Arc<str> {
        let found = if reason < CORE_REASONS {
            self.core.get(&reason)
        } else {
            self.subsystems.get(&(reason >> SUBSYSTEM_SHIFT))
        };
        found.unwrap_or(&self.unknown).clone()
    }

    /// The kernel's own reasons that are left out, with their names.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        self.core
            .iter()
            .filter(|(_, name)| LEFT_OUT.contains(&&***name))
            .map(|(number, name)| (*number, name))
    }

    pub(super) fn left_out_bits(&self) -> [u64; CORE_REASONS as usize / 64] {
        let mut bits = [0; CORE_REASONS as usize / 64];
        for (number, _) in self.left_out() {
            bits[number as usize / 64] |= 1 << (number % 64);
        }
        bits
    }

    pub(super) fn left_out_subsystems(&self) -> u64 {
        let left_out = self.subsystems.iter().filter(|(_, name)| LEFT_OUT_SUBSYSTEMS.contains(&&***name));
        left_out.fold(0, |bits, (number, _)| bits | 1 << number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(core: &[(&str, i64)], subsystems: &[(&str, i64)]) -> Reasons {
        let owned = |all: &[(&str, i64)]| -> Vec<_> {
            all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        Reasons::new(&owned(core), &owned(subsystems))
    }

    #[test]
    fn names_are_the_kernels_without_what_all_have() {
        let reasons = reasons(
            &[
                ("SKB_NOT_DROPPED_YET", 0),
                ("SKB_CONSUMED", 1),
                ("SKB_DROP_REASON_NOT_SPECIFIED", 2),
                ("SKB_DROP_REASON_NO_SOCKET", 3),
                ("SKB_DROP_REASON_OTHERHOST", 70),
                ("SKB_DROP_REASON_MAX", 71),
                ("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
            ],
            &[
                ("SKB_DROP_REASON_SUBSYS_CORE", 0),
                ("SKB_DROP_REASON_SUBSYS_MAC80211_MONITOR", 2),
                ("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 3),
                ("SKB_DROP_REASON_SUBSYS_NUM", 4),
            ],
        );
        assert_eq!(&*reasons.name(3), "NO_SOCKET");
        assert_eq!(&*reasons.name(0), "NOT_DROPPED_YET");
        assert_eq!(&*reasons.name(0x3_0000), "OPENVSWITCH");
        for unknown in [71, 255, 256, 0x4_0000, 0x9_0000, u32::MAX] {
            assert_eq!(&*reasons.name(unknown), "UNKNOWN", "{unknown}");
        }
        assert_eq!(reasons.left_out_bits(), [0b111, 1 << 6, 0, 0]);
        assert_eq!(reasons.left_out_subsystems(), 1 << 2);
        assert_eq!(reasons.len(), 7);
    }

    #[test]
    fn an_enumeration_with_nonsense_in_it_is_no_harm() {
        let reasons = reasons(&[("A", 1), ("SKB_B", -1), ("SKB_C", i64::MAX)], &[("X", 64), ("Y", -5)]);
        assert_eq!(&*reasons.name(1), "UNKNOWN");
        assert_eq!(reasons.left_out_subsystems(), 0);
    }
}
