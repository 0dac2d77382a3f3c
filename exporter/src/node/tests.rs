// SPDX-License-Identifier: Apache-2.0
//! Each item over files as kernels write them.

use std::os::unix::fs::symlink;

use super::host::Host;
use super::samples::Samples;
use super::{FAMILIES, Item, Node, Tracked, interfaces, items};
use crate::flags::InterfacePatterns;

/// The columns of 5.10 to 5.14.
const CONNTRACK_OLD: &str = "entries  clashres found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
0000002a  00000001 00000000 00000000 00000002 00000000 00000000 00000000 00000000 00000003 00000004 00000005 00000006  00000000 00000000 00000000 00000007
0000002a  00000010 00000000 00000000 00000020 00000000 00000000 00000000 00000000 00000030 00000040 00000050 00000060  00000000 00000000 00000000 00000070
";
/// 5.15 to 6.18, x86-64 and arm64.
const CONNTRACK: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
0000002a  00000001 00000000 00000000 00000002 00000000 00000000 00000008 00000000 00000003 00000004 00000005 00000006  00000000 00000000 00000000 00000007
";
/// 5.15 and 6.1: 13 columns. CPU 1 is switched off.
const SOFTNET_6_1: &str = "\
0550552a 000007e3 0000000c 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000005 00000000
00000001 00000001 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000001 00000002
";
/// 6.12 and 6.18: 15 columns.
const SOFTNET_6_18: &str = "\
0550552a 000007e3 0000000c 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000000 00000001 00000002
";
const ARP: &str = "entries  allocs   destroys hash_grows lookups  hits     res_failed rcv_probes_mcast rcv_probes_ucast periodic_gc_runs forced_gc_runs unresolved_discards table_fulls
00000002 00001895 00001a1c 00000000   00005550 00000c67 00000003   00000000         00000000         00000a73         00000000       00000004            00000005
00000002 00001b4d 000019c4 00000003   00005803 00000c3e 100000000   00000000         00000000         00000000         00000000       00000010            00000020
";
const SOCKSTAT: &str = "sockets: used 614
TCP: inuse 100 orphan -1 tw 7 alloc 200 mem 3
UDP: inuse 5 mem 2
UDPLITE: inuse 0
RAW: inuse 1
FRAG: inuse 1 memory 1344
";
const SOCKSTAT6: &str =
    "TCP6: inuse 6\nUDP6: inuse 2\nUDPLITE6: inuse 0\nRAW6: inuse 1\nFRAG6: inuse 0 memory 640\n";
const SOFTIRQS: &str = "                    CPU0       CPU1       \n          HI:          0          0\n      NET_TX:         12         30\n      NET_RX:        100 4294967295\n";
const STAT: &str = "cpu  1 2 3 4 5 6 250 8 0 0\ncpu0 1 2 3 4 5 6 150 8 0 0\ncpu1 1 2 3 4 5 6 100 8 0 0\nintr 12 0 9\nctxt 12\nbtime 17\n";
const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
veth12ab:     1       1    1    1    1     1          1         1        1       1    1    1    1     1       1          1
  eth0: 18446744073709551615 2 3 4 5 0 0 0 6 7 8 9 0 0 0 0
";

fn read(item: &mut dyn Item, files: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let (host, _root) = Host::of_files(files);
    let mut samples = Samples::default();
    item.read(&host, &mut samples).map(|()| samples.lines()).map_err(|absent| absent.to_string())
}

fn excluding(names: &str) -> InterfacePatterns {
    names.parse().unwrap()
}

fn item(name: &str) -> Box<dyn Item> {
    items(&excluding("veth*")).into_iter().find(|item| item.name() == name).unwrap()
}

fn lines(name: &str, files: &[(&str, &str)]) -> Vec<String> {
    read(item(name).as_mut(), files).unwrap()
}

#[test]
fn conntrack_of_both_formats() {
    let file = "proc/1/net/stat/nf_conntrack";
    let events = |insert_failed: u32,
                  chain: Option<u32>,
                  [drop, early, clash, invalid, icmp, search]: [u32; 6]| {
        let event = |name, count: u32| format!("node_conntrack_events{{{name}}} {count}");
        let mut lines = vec!["node_conntrack_entries{} 42".to_owned(), event("drop", drop)];
        lines.extend([event("insert_failed", insert_failed), event("early_drop", early)]);
        lines.push(event("clash_resolved", clash));
        lines.extend(chain.map(|chain| event("chain_too_long", chain)));
        lines.extend([event("invalid", invalid), event("icmp_error", icmp), event("search_restart", search)]);
        lines
    };
    let old = events(0x33, None, [0x44, 0x55, 0x11, 0x22, 0x66, 0x77]);
    assert_eq!(lines("conntrack", &[(file, CONNTRACK_OLD)]), old);
    assert_eq!(lines("conntrack", &[(file, CONNTRACK)]), events(3, Some(8), [4, 5, 1, 2, 6, 7]));
    for (odd, what) in [
        ("", "no column entries"),
        ("entries drop\n", "rows do not fit the header"),
        ("entries drop\n1\n", "rows do not fit the header"),
        ("entries drop\n1 x\n", "not all numbers"),
        ("drop\n1\n", "no column entries"),
    ] {
        let error = read(item("conntrack").as_mut(), &[(file, odd)]).unwrap_err();
        assert!(error.ends_with(&format!("{file}: {what}")), "{odd:?}: {error}");
    }
}

#[test]
fn conntrack_events_go_on_when_the_module_is_loaded_anew() {
    let mut conntrack = item("conntrack");
    let drops = |now: &str| format!("entries drop\n0 {now}\n");
    for (now, total) in [("10", 16), ("20", 32), ("3", 35), ("4", 36)] {
        let lines = read(conntrack.as_mut(), &[("proc/1/net/stat/nf_conntrack", &drops(now))]).unwrap();
        assert_eq!(lines[1], format!("node_conntrack_events{{drop}} {total}"));
    }
}

#[test]
fn softnet_with_more_and_fewer_columns() {
    let file = "proc/1/net/softnet_stat";
    let of = |text| lines("softnet", &[(file, text)]);
    let expected =
        |processed: u32, dropped: u32, squeezed: u32, limited: Option<u32>, backlog: Option<u32>| {
            let mut lines = vec![format!("node_softnet_processed{{}} {processed}")];
            lines.push(format!("node_softnet_dropped{{}} {dropped}"));
            lines.push(format!("node_softnet_time_squeezed{{}} {squeezed}"));
            lines.extend(limited.map(|limited| format!("node_softnet_flow_limited{{}} {limited}")));
            lines.extend(backlog.map(|backlog| format!("node_softnet_backlog_packets{{}} {backlog}")));
            lines
        };
    assert_eq!(of("1 2 3\n1 2 3\n"), expected(2, 4, 6, None, None));
    assert_eq!(of(SOFTNET_6_1), expected(0x0550_552b, 0x7e4, 0xd, Some(3), Some(6)));
    assert_eq!(of(SOFTNET_6_18), expected(0x0550_552a, 0x7e3, 0xc, Some(0), Some(3)));
    // CPU 0 switched off: what it counted stays, and its line is no other CPU's.
    let mut softnet = item("softnet");
    read(softnet.as_mut(), &[(file, SOFTNET_6_1)]).unwrap();
    let left = SOFTNET_6_1.lines().nth(1).unwrap();
    assert_eq!(read(softnet.as_mut(), &[(file, left)]).unwrap()[0], "node_softnet_processed{} 89150763");
}

#[test]
fn neighbours_with_and_without_ipv6() {
    let both = [("proc/1/net/stat/arp_cache", ARP), ("proc/1/net/stat/ndisc_cache", ARP)];
    let expected = [
        "entries{ipv4} 2",
        "overflows{ipv4} 37",
        "resolution_failures{ipv4} 4294967299",
        "unresolved_discards{ipv4} 20",
    ];
    let expected = expected.map(|line| format!("node_neighbour_{line}"));
    assert_eq!(lines("neighbours", &both[..1]), expected);
    let twice: Vec<_> =
        expected.iter().flat_map(|line| [line.clone(), line.replace("ipv4", "ipv6")]).collect();
    assert_eq!(lines("neighbours", &both), twice);
}

#[test]
fn sockets_and_their_memory() {
    let page = procfs::page_size();
    let files = [("proc/1/net/sockstat", SOCKSTAT), ("proc/1/net/sockstat6", SOCKSTAT6)];
    let expected = [
        "node_sockets{} 614".to_owned(),
        "node_tcp_orphans{} 0".to_owned(),
        "node_tcp_time_wait{} 7".to_owned(),
        format!("node_tcp_memory_bytes{{}} {}", 3 * page),
        format!("node_udp_memory_bytes{{}} {}", 2 * page),
        "node_ip_fragment_memory_bytes{ipv4} 1344".to_owned(),
        "node_ip_fragment_memory_bytes{ipv6} 640".to_owned(),
    ];
    assert_eq!(lines("sockets", &files), expected);
    assert_eq!(lines("sockets", &files[..1]), expected[..6]);
    let error = read(item("sockets").as_mut(), &[("proc/1/net/sockstat", "sockets: used\n")]).unwrap_err();
    assert!(error.ends_with("no number sockets: used"), "{error}");
}

#[test]
fn limits() {
    let page = procfs::page_size();
    let net = "proc/sys/net";
    let arp = format!("{net}/ipv4/neigh/default/gc_thresh3");
    assert_eq!(lines("neighbour_limits", &[(&arp, "1024\n")]), ["node_neighbour_limit{ipv4} 1024"]);
    let names = ["ipv4/tcp_mem", "ipv4/udp_mem", "ipv4/tcp_max_orphans"].map(|name| format!("{net}/{name}"));
    let files = [(&*names[0], "1\t2\t3\n"), (&*names[1], "4\t5\t6\n"), (&*names[2], "7\n")];
    let expected = [
        format!("node_tcp_memory_limit_bytes{{}} {}", 3 * page),
        format!("node_tcp_memory_pressure_limit_bytes{{}} {}", 2 * page),
        format!("node_udp_memory_limit_bytes{{}} {}", 6 * page),
        "node_tcp_orphans_limit{} 7".to_owned(),
    ];
    assert_eq!(lines("memory_limits", &files), expected);
    let error = read(item("memory_limits").as_mut(), &[files[0], (&names[1], "4 5\n")]).unwrap_err();
    assert!(error.ends_with("udp_mem: no number in column 3"), "{error}");
    // Another host's settings are not this one's.
    for name in ["namespace_limits", "local_ports", "driver_statistics", "queues"] {
        let error = read(item(name).as_mut(), &[("proc/1/net/dev", DEV)]).unwrap_err();
        assert!(error.contains("does not run in it") || error.contains("without a list"), "{name}: {error}");
    }
}

#[test]
fn pressure_of_old_and_new_kernels() {
    let some = "some avg10=0.90 avg60=4.81 avg300=2.72 total=2500000\n";
    let both = format!("{some}full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
    // Before 5.13, and where interrupt time is not counted.
    let old = [("proc/pressure/cpu", some), ("proc/pressure/memory", &both), ("proc/pressure/io", &both)];
    let stalled =
        |resource, kind, seconds| format!("node_pressure_stalled_seconds{{{resource},{kind}}} {seconds}");
    let mut expected = vec![stalled("cpu", "some", "2.5")];
    for resource in ["memory", "io"] {
        expected.extend([stalled(resource, "some", "2.5"), stalled(resource, "full", "1")]);
    }
    assert_eq!(lines("pressure", &old), expected);
    let irq = "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    expected.push(stalled("irq", "full", "0.000007"));
    assert_eq!(lines("pressure", &[&old[..], &[("proc/pressure/irq", irq)]].concat()), expected);
}

#[test]
fn softirqs_and_files() {
    let mut runs = item("softirqs");
    let line = |vector, count: u64| format!("node_softirqs{{{vector}}} {count}");
    let file = "proc/softirqs";
    assert_eq!(
        read(runs.as_mut(), &[(file, SOFTIRQS)]).unwrap(),
        [line("net_rx", (1 << 32) + 99), line("net_tx", 42)]
    );
    let full = SOFTIRQS.replace("4294967295", "0000000009");
    assert_eq!(read(runs.as_mut(), &[(file, &full)]).unwrap()[0], line("net_rx", (1 << 32) + 109));
    let ticks = procfs::ticks_per_second() as f64;
    let expected = [format!("node_softirq_seconds{{}} {}", 250.0 / ticks), "node_cpus{} 2".to_owned()];
    assert_eq!(lines("cpu", &[("proc/stat", STAT)]), expected);
    let handles = [("proc/sys/fs/file-nr", "1344\t0\t9223372036854775807\n")];
    assert_eq!(lines("file_handles", &handles)[0], "node_file_handles{} 1344");
}

#[test]
fn interfaces_and_their_links() {
    let devices = interfaces::Devices::default();
    let mut interfaces = interfaces::Interfaces::new(excluding("veth*"), devices.clone());
    let mut links = super::links::Links::new(excluding("veth*"), devices);
    let files = |carrier| {
        let eth0 = [("carrier", carrier), ("carrier_changes", "3\n"), ("speed", "25000\n")];
        let lo = [("carrier", "1\n"), ("carrier_changes", "0\n"), ("speed", "-1\n")];
        let paths = [("eth0", eth0), ("lo", lo), ("veth12ab", lo)]
            .map(|(device, files)| files.map(|(file, text)| (format!("sys/devices/{device}/{file}"), text)));
        Host::of_files(
            &paths
                .iter()
                .flatten()
                .map(|(path, text)| (&**path, *text))
                .chain([("proc/1/net/dev", DEV), ("sys/class/net/bonding_masters", "")])
                .collect::<Vec<_>>(),
        )
    };
    let (host, root) = files("1\n");
    let class = root.path().join("sys/class/net");
    for device in ["eth0", "lo", "veth12ab"] {
        symlink(root.path().join("sys/devices").join(device), class.join(device)).unwrap();
    }
    assert!(links.read(&host, &mut Samples::default()).is_err(), "not before the interfaces");
    let mut samples = Samples::default();
    interfaces.read(&host, &mut samples).unwrap();
    let lines = samples.lines();
    assert_eq!(lines.len(), 18);
    let eth0: Vec<_> =
        lines.iter().filter_map(|line| line.split_once("{eth0} ")).map(|(_, value)| value).collect();
    assert_eq!(eth0, ["18446744073709552000", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let mut samples = Samples::default();
    links.read(&host, &mut samples).unwrap();
    let expected = [
        "carrier{eth0} 1",
        "carrier{lo} 1",
        "carrier_changes{eth0} 3",
        "carrier_changes{lo} 0",
        "speed_bytes{eth0} 3125000000",
    ];
    assert_eq!(samples.lines(), expected.map(|line| format!("node_interface_{line}")));
    // The sysfs of a namespace that has eth0 too, and not lo.
    std::fs::remove_file(class.join("lo")).unwrap();
    let error = links.read(&host, &mut Samples::default()).unwrap_err();
    assert!(error.to_string().contains("another network namespace"), "{error}");
}

fn node(host: Host) -> Node {
    let items = items(&excluding("veth*")).into_iter();
    let items = items.map(|item| Tracked { item, reason: String::new() }).collect();
    let node = Node { host, items: parking_lot::Mutex::new(items), snapshot: parking_lot::Mutex::default() };
    node.read();
    node
}

#[test]
fn a_host_without_files_fails_item_by_item() {
    let (host, _root) = Host::of_files(&[("proc/sys/fs/file-nr", "1 0 2\n")]);
    let node = node(host);
    let fares = node.fares().unwrap();
    assert!(fares.starts_with("file_handles; without conntrack, conntrack_limit, softnet"), "{fares}");
}

#[test]
fn this_machine_has_most_and_serves_them_in_order() {
    let node = node(Host::new("/proc".as_ref(), "/sys".as_ref()));
    let fares = node.fares().unwrap();
    for item in ["softnet", "softirqs", "cpu", "interfaces", "sockets", "file_handles"] {
        assert!(fares.contains(item), "{item}: {fares}");
    }
    let served = node.snapshot.lock().samples.families();
    let known: Vec<_> =
        FAMILIES.iter().map(|family| family.name).filter(|name| served.contains(name)).collect();
    assert_eq!(served, known, "each once, in the order of the documentation");
}
