// SPDX-License-Identifier: Apache-2.0
//! The keys of flows that packets were seen of.

use crate::skeleton::packets::types;
use crate::skeleton::tcp::types::fg_key;
use crate::{FlowKey, Transport};

/// The bit of a role that says that TCP carries the flow (`FG_OVER_TCP`).
const OVER_TCP: u8 = 0x80;

/// Decodes the kernel's form. None when a field has no known value.
pub(super) fn decode(raw: &types::fg_key) -> Option<FlowKey> {
    let transport = if raw.role & OVER_TCP != 0 { Transport::Tcp } else { Transport::Udp };
    let key = fg_key {
        remote: raw.remote,
        cgroup: raw.cgroup,
        peer_cgroup: raw.peer_cgroup,
        netns: raw.netns,
        process: raw.process,
        peer_process: raw.peer_process,
        port: raw.port,
        role: raw.role & !OVER_TCP,
        peer: raw.peer,
    };
    Some(FlowKey { transport, ..FlowKey::decode(&key)? })
}

/// The kernel's form, from its bytes in a record. None if these are more or less.
pub(super) fn from_bytes(raw: &[u8]) -> Option<types::fg_key> {
    let mut key = types::fg_key::default();
    if raw.len() != size_of::<types::fg_key>() {
        return None;
    }
    // SAFETY: a structure of integers without padding, filled with as many bytes as it has.
    unsafe { std::ptr::copy_nonoverlapping(raw.as_ptr(), std::ptr::from_mut(&mut key).cast(), raw.len()) };
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn the_role_tells_the_transport() {
        let raw = |role| types::fg_key { role, port: 53, ..Default::default() };
        let of = |role| decode(&raw(role)).map(|key| (key.role, key.transport));
        assert_eq!(of(1), Some((Role::Client, Transport::Udp)));
        assert_eq!(of(OVER_TCP | 2), Some((Role::Server, Transport::Tcp)));
        assert_eq!(of(OVER_TCP), None);
    }
}
