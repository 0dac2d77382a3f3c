// SPDX-License-Identifier: Apache-2.0
//! What one update has changed.

use std::net::IpAddr;

use super::record::Uid;
use crate::changes::Subject;

/// Collected while the tables are written, told when that is done.
#[derive(Default, Debug)]
pub(crate) struct Touched {
    pub subjects: Vec<Subject>,
    pub everything: bool,
    /// Pods of which the local sockets' names depend.
    pub pods: Vec<Uid>,
    /// Where Services can be dialled.
    pub services: bool,
}

impl Touched {
    pub fn address(&mut self, addr: IpAddr) {
        if !self.everything {
            self.subjects.push(Subject::Address(addr));
        }
    }

    pub fn everything(&mut self) {
        self.everything = true;
        self.subjects.clear();
    }
}
