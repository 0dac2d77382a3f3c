// SPDX-License-Identifier: Apache-2.0
//! The kernel runs the filter here as it does on netlink: over what a socket pair carries.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

use proptest::prelude::*;
use socket2::SockRef;

use super::super::message::tests::{TCP, UDP, entry, entry_packet, event, packet};
use super::*;

struct Filtered(UnixDatagram, UnixDatagram);

impl Filtered {
    fn new() -> Filtered {
        let (send, receive) = UnixDatagram::pair().unwrap();
        receive.set_nonblocking(true).unwrap();
        SockRef::from(&receive).attach_filter(&translated_tcp()).unwrap();
        Filtered(send, receive)
    }

    fn passes(&self, message: &[u8]) -> bool {
        match self.0.send(message) {
            Ok(_) => {}
            // Refused for want of permission is how a datagram socket tells that the filter took it.
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
        let mut buffer = [0; 1024];
        match self.1.recv(&mut buffer) {
            Ok(length) => {
                assert_eq!(&buffer[..length], message, "nothing is cut off");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

#[test]
fn only_tcp_with_a_translated_destination_passes() {
    let filtered = Filtered::new();
    let confirmed = 1 << 3;
    let source_nat = 1 << 4;
    for (source, dialled, backend) in [
        ("10.0.0.1:40000", "10.96.0.10:80", "10.0.2.3:8080"),
        ("[fd00::1]:40000", "[fd00:96::10]:80", "[fd00:2::3]:8080"),
    ] {
        let translated = entry(source, dialled, backend);
        assert!(filtered.passes(&event(TCP, confirmed | IPS_DST_NAT, &translated)));
        assert!(filtered.passes(&event(TCP, confirmed, &translated)), "IPVS leaves no mark");
        assert!(!filtered.passes(&event(UDP, confirmed | IPS_DST_NAT, &translated)));
        let direct = entry(source, dialled, dialled);
        assert!(!filtered.passes(&event(TCP, confirmed, &direct)));
        assert!(!filtered.passes(&event(TCP, confirmed | source_nat, &direct)));
    }
    for word in 0..4u16 {
        let mut segments = [0xfd00, 1, 2, 3, 4, 5, 6, 7];
        segments[usize::from(word) * 2] ^= 0x8000;
        let other = std::net::Ipv6Addr::from(segments);
        let near = entry("[fd00::1]:40000", "[fd00:1:2:3:4:5:6:7]:80", &format!("[{other}]:80"));
        assert!(filtered.passes(&event(TCP, 0, &near)), "the addresses differ in word {word} alone");
    }
}

#[test]
fn the_mark_counts_where_the_port_alone_was_translated() {
    let redirected = entry("10.0.0.1:40000", "10.0.0.9:80", "10.0.0.9:8080");
    assert!(Filtered::new().passes(&event(TCP, IPS_DST_NAT, &redirected)));
}

#[test]
fn parts_of_a_dump_its_end_and_errors_pass() {
    let filtered = Filtered::new();
    let direct = entry("10.0.0.1:40000", "10.0.2.3:80", "10.0.2.3:80");
    assert!(filtered.passes(&entry_packet(libc::NLM_F_MULTI as u16, UDP, 0, &direct)));
    assert!(filtered.passes(&packet(libc::NLMSG_DONE as u16, libc::NLM_F_MULTI as u16, &[0; 4])));
    assert!(filtered.passes(&packet(libc::NLMSG_ERROR as u16, 0, &[0; 20])));
}

proptest! {
    #[test]
    fn broken_events_do_not_break_the_filter(cut in 0usize..200, at in 0usize..200, byte: u8) {
        let filtered = Filtered::new();
        let mut bytes = event(TCP, 0, &entry("10.0.0.1:40000", "10.96.0.10:80", "10.96.0.10:80"));
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        bytes.truncate(cut.max(1));
        filtered.passes(&bytes);
    }
}
