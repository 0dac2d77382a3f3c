// SPDX-License-Identifier: Apache-2.0
//! Whose packets were dropped.

use std::sync::Arc;

use flowgauge_labels::{Identity, Owner, Process};
use flowgauge_probes::FlowKey;
use flowgauge_probes::drops::{Dropped, Holder, Holders};
use flowgauge_probes::tcp::Processes;

use super::{Naming, is_unattributed, owner_of};

/// Namespace and workload.
pub type Names = (Arc<str>, Arc<str>);

impl Naming {
    /// Names the owner of the packets' socket, else of their network namespace: the host, or whoever lives there.
    /// `processes` are those of the TCP probe.
    pub fn dropped(&self, dropped: &Dropped, holders: &Holders, processes: &Processes) -> Names {
        let socket = dropped.socket.as_ref().map(|key| self.socket_owner(key, processes));
        let known = |found: &Identity| !is_unattributed(found);
        if let Some(found) = socket.filter(known) {
            return (found.namespace, found.workload);
        }
        if dropped.netns == self.host_netns {
            return ("".into(), self.host.clone());
        }
        let holder = holders.of(dropped.netns);
        let holder = holder.map(|holder| self.resolver.local(&owner_of_holder(dropped.netns, holder)));
        match holder.filter(known).or_else(|| self.resolver.within(dropped.netns)) {
            Some(found) => (found.namespace, found.workload),
            None => ("".into(), "unknown".into()),
        }
    }

    fn socket_owner(&self, key: &FlowKey, processes: &Processes) -> Identity {
        match (key.process, key.port) {
            (0, 1..) => self.accepting(key).0,
            _ => self.resolver.local(&owner_of(key, processes)),
        }
    }
}

fn owner_of_holder(netns: u32, holder: &Holder) -> Owner {
    let process = Process { cgroup: holder.process.cgroup, name: holder.process.name.clone() };
    Owner { netns, cgroup: holder.cgroup, process: Some(process), ambiguous: false }
}
