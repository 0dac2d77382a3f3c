// SPDX-License-Identifier: Apache-2.0
//! What one update has changed.

use std::net::IpAddr;

use super::record::{PodRecord, Uid};
use crate::changes::Subject;

/// Collected while the tables are written, told when that is done.
#[derive(Default, Debug)]
pub(crate) struct Touched {
    pub subjects: Vec<Subject>,
    pub everything: bool,
    /// Pods on which local sockets' names depend.
    pub pods: Vec<Uid>,
    /// Names of the node's own sockets depend on what has changed.
    pub node: bool,
    /// Where Services can be dialled.
    pub services: bool,
}

impl Touched {
    pub fn address(&mut self, addr: IpAddr) {
        if !self.everything {
            self.subjects.push(Subject::Address(addr));
        }
    }

    /// Local sockets of an own pod may have another name.
    pub fn pod(&mut self, pod: &PodRecord) {
        self.pods.push(pod.uid);
        self.pods.extend(pod.alias());
    }

    pub fn everything(&mut self) {
        self.everything = true;
        self.subjects.clear();
    }
}
