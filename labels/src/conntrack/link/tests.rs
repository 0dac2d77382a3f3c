// SPDX-License-Identifier: Apache-2.0
use std::fs;

use super::*;

fn nothing(_: IpAddr) -> u64 {
    0
}

#[test]
fn a_kernel_without_conntrack_is_asked_again_every_minute() {
    let procfs = tempfile::tempdir().unwrap();
    fs::create_dir_all(procfs.path().join("sys/net")).unwrap();
    let mut link = Link::new(Host::new(procfs.path()));
    let start = Instant::now();
    link.connect(start);
    let status = link.status();
    assert!(!status.up);
    assert_eq!(status.detail, "no NAT on this host is known: nf_conntrack is not loaded");
    assert!(!link.drain(nothing, STEP));

    fs::create_dir_all(procfs.path().join("sys/net/netfilter")).unwrap();
    fs::write(procfs.path().join("sys/net/netfilter/nf_conntrack_max"), "1\n").unwrap();
    link.retry(start + Duration::from_secs(59));
    assert!(!link.status().up, "it is not a minute yet");
    link.retry(start + Duration::from_secs(60));
    let status = link.status();
    assert!(status.up, "{status:?}");
    let own = "0 translated connections; in the exporter's own network namespace, the host's is unknown: ";
    assert!(status.detail.starts_with(own), "{}", status.detail);
    assert!(status.detail.ends_with("; the table is being listed"), "{}", status.detail);
}

#[test]
fn events_that_are_switched_off_are_told() {
    let procfs = tempfile::tempdir().unwrap();
    let sysctl = procfs.path().join("sys/net/netfilter");
    fs::create_dir_all(&sysctl).unwrap();
    fs::write(sysctl.join("nf_conntrack_max"), "1\n").unwrap();
    fs::write(sysctl.join("nf_conntrack_events"), "0\n").unwrap();
    let mut link = Link::new(Host::new(procfs.path()));
    link.connect(Instant::now());
    let status = link.status();
    let expected = "no NAT on this host is known: its net.netfilter.nf_conntrack_events is 0";
    assert_eq!((status.up, &*status.detail), (false, expected));
}
