// SPDX-License-Identifier: Apache-2.0

use super::*;

const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     |-- 192.0.2.0
        /24 link UNICAST
     |-- 192.0.2.2
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
     |-- 198.51.100.0
        /24 host LOCAL
Local:
     |-- 192.0.2.2
        /32 host LOCAL
";
const IF_INET6: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000002 02 40 00 80     eth0
";

fn fake(dir: &Path, pid: &str, fib: &str, inet6: Option<&str>) {
    let net = dir.join(pid);
    std::fs::create_dir_all(&net).unwrap();
    std::fs::write(net.join("fib_trie"), fib).unwrap();
    if let Some(inet6) = inet6 {
        std::fs::write(net.join("if_inet6"), inet6).unwrap();
    }
}

fn has(addresses: &HostAddresses, text: &str) -> bool {
    addresses.contains(text.parse().unwrap())
}

#[test]
fn link_local_addresses_are_the_hosts_and_change_no_name() {
    let dir = tempfile::tempdir().unwrap();
    fake(dir.path(), "1/net", FIB_TRIE, Some(IF_INET6));
    let addresses = HostAddresses::new(dir.path());
    let before = addresses.all();
    let link = "fe8000000000000000000000000000aa 03 40 20 80    veth1\n";
    fake(dir.path(), "1/net", FIB_TRIE, Some(&format!("{IF_INET6}{link}")));
    addresses.expire();
    assert!(!addresses.refresh());
    assert!(has(&addresses, "fe80::aa"));
    assert_eq!(addresses.all(), before);
}

#[test]
fn both_families_are_read() {
    let dir = tempfile::tempdir().unwrap();
    fake(dir.path(), "1/net", FIB_TRIE, Some(IF_INET6));
    let addresses = HostAddresses::new(dir.path());
    for own in
        ["127.0.0.1", "127.9.9.9", "192.0.2.2", "::ffff:192.0.2.2", "::1", "2001:db8::2", "198.51.100.77"]
    {
        assert!(has(&addresses, own), "{own}");
    }
    for other in ["192.0.2.0", "192.0.2.255", "192.0.2.3", "2001:db8::3", "0.0.0.0", "::"] {
        assert!(!has(&addresses, other), "{other}");
    }
    let status = addresses.status();
    assert!(status.up);
    assert_eq!(status.entries, 5, "two IPv4, two IPv6, one prefix");
}

#[test]
fn changes_are_seen_when_due_and_failures_keep_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    fake(dir.path(), "net", FIB_TRIE, None);
    let addresses = HostAddresses::new(dir.path());
    assert!(has(&addresses, "192.0.2.2") && !has(&addresses, "192.0.2.9"));
    fake(dir.path(), "net", &FIB_TRIE.replace("192.0.2.2\n", "192.0.2.9\n"), None);
    assert!(!addresses.refresh(), "read ten seconds ago at most");
    addresses.expire();
    assert!(addresses.refresh());
    assert!(!has(&addresses, "192.0.2.2") && has(&addresses, "192.0.2.9"));
    addresses.expire();
    assert!(!addresses.refresh(), "nothing new");
    std::fs::remove_dir_all(dir.path().join("net")).unwrap();
    addresses.expire();
    assert!(!addresses.refresh());
    assert!(has(&addresses, "192.0.2.9"));
    let status = addresses.status();
    assert!(!status.up && status.reloads_failed == 1);
    assert!(status.detail.contains("net/fib_trie: No such file"), "{}", status.detail);
}

#[test]
fn the_running_host_knows_its_loopback() {
    let addresses = HostAddresses::new(Path::new("/proc"));
    assert!(addresses.status().up, "{}", addresses.status().detail);
    let own = addresses.own.read();
    assert!(own.exact.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{own:?}");
}

proptest::proptest! {
    #[test]
    fn hostile_files_do_not_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), text in ".{0,300}") {
        for input in [&bytes[..], text.as_bytes()] {
            let mut own = Own::default();
            parse_fib_trie(&mut &input[..], &mut own).unwrap();
            parse_if_inet6(&mut &input[..], &mut own).unwrap();
        }
    }
}
