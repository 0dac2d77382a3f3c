// SPDX-License-Identifier: Apache-2.0
//! A DNS response as the kernel hands it out, and the look-ups that follow.
//!
//! The first byte is the namespace, the rest the message. Any four bytes of it may be an address that it names.
#![no_main]

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use flowgauge_labels::{Config, Kind, ProcessHierarchy, Resolver};
use libfuzzer_sys::fuzz_target;

static RESOLVER: LazyLock<Resolver> = LazyLock::new(|| {
    let nowhere = PathBuf::from("/nonexistent");
    let config = Config {
        cgroup_root: nowhere.clone(),
        procfs: nowhere.clone(),
        sysfs: nowhere.clone(),
        rootfs: nowhere,
        names_file: None,
        external_patterns: None,
        cloud_ranges: Vec::new(),
        cloud_metadata: Default::default(),
    };
    Resolver::new(config, ProcessHierarchy::Unified, None).expect("no file to be wrong")
});

fuzz_target!(|data: &[u8]| {
    let Some((netns, message)) = data.split_first() else { return };
    let netns = u32::from(*netns);
    RESOLVER.note_answer(netns, message);
    for at in message.windows(4).rev().take(64) {
        let addr = IpAddr::from([at[0], at[1], at[2], at[3]]);
        let found = RESOLVER.remote_for(Some(netns), addr, Some(443));
        assert!(!found.workload.is_empty() && found.workload.len() <= 253);
        assert!(found.workload.is_ascii() && !found.workload.bytes().any(|byte| byte.is_ascii_control()));
        let client = RESOLVER.remote(addr, None);
        assert!(matches!(&*client.workload, "external" | "unknown"));
        assert!(matches!(client.kind, Kind::External | Kind::Unknown));
    }
});
