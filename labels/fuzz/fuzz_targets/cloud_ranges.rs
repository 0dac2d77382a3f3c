// SPDX-License-Identifier: Apache-2.0
//! Files of published cloud ranges: any content, and look-ups in what was read of it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let addresses = [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x201)),
    ];
    match flowgauge_labels::fuzz_cloud_ranges(content, &addresses) {
        Ok(named) => assert!(named <= addresses.len()),
        Err(fault) => {
            assert!(!fault.is_empty() && fault.len() < 2000, "{fault}");
            assert!(!fault.contains(char::is_control), "{fault:?}");
        }
    }
});
