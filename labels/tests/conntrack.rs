// SPDX-License-Identifier: Apache-2.0
//! NAT by the running kernel. Needs root, iptables, nft, conntrack and ip, and fails without.

use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use flowgauge_labels::Conntrack;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use socket2::{Domain, Socket, Type};

use nat::{
    BACKEND_PORT, BACKENDS, BACKENDS6, CLIENT, Dialled, ROUTER, VIP, VIP6, World, assert_all_found, at,
    digest, wait_for,
};

mod nat;

#[test]
fn every_new_connection_is_found_by_its_event() {
    let world = World::new();
    world.balance_by_iptables();
    let conntrack = world.open();
    assert_eq!(conntrack.status().entries, 0);
    let connections = world.dial(at(VIP, 80), 200);
    conntrack.settle(Duration::from_secs(10));
    let status = conntrack.status();
    assert_eq!((conntrack.events(), status.entries, conntrack.lost()), (200, 200, 0));
    assert_eq!(status.detail, "200 translated connections");
    assert_all_found(&conntrack, &connections);
    assert_eq!(conntrack.status().entries, 0, "each was told once");

    // Closed and gone from the kernel, as connections are that are asked for at the end.
    let connections = world.dial(at(VIP, 80), 1);
    let (source, target, truth) = (connections[0].source, connections[0].target, connections[0].truth());
    connections.into_iter().for_each(Dialled::reset);
    world.router.sh("conntrack -F 2>/dev/null");
    conntrack.drain();
    let dialled = (target.ip(), target.port());
    assert_eq!(conntrack.take(digest(source.ip()), source.port(), dialled), truth);
    assert_eq!(conntrack.take(digest(source.ip()), source.port(), dialled), None);

    let port = source.port();
    let others = [("10.231.0.3", port, VIP), (CLIENT, 1, VIP), (CLIENT, port, "10.96.0.11")];
    for (source, port, dialled) in others {
        let source = digest(source.parse().unwrap());
        assert_eq!(conntrack.take(source, port, (dialled.parse().unwrap(), 80)), None);
    }
}

#[test]
fn connections_that_are_older_are_listed() {
    let world = World::new();
    world.balance_by_iptables();
    let older = world.dial(at(VIP, 80), 50);
    let direct = world.dial(at(BACKENDS[0], BACKEND_PORT), 3);
    let conntrack = world.open();
    assert_eq!(conntrack.events(), 0);
    assert_all_found(&conntrack, &older);
    assert_eq!(direct[0].found(&conntrack), None);
    assert_eq!((conntrack.status().entries, conntrack.events()), (0, 0));
}

#[test]
fn nft_translates_both_families() {
    let world = World::new();
    let [a, b] = BACKENDS;
    let [a6, b6] = BACKENDS6;
    world.router.sh(&format!(
        "nft add table inet nat
         nft add chain inet nat pre \"{{ type nat hook prerouting priority dstnat; }}\"
         nft add rule inet nat pre ip daddr {VIP} tcp dport 80 \
             dnat ip to numgen inc mod 2 map {{ 0 : {a}, 1 : {b} }}:{BACKEND_PORT}
         nft add rule inet nat pre ip6 daddr {VIP6} tcp dport 80 \
             dnat ip6 to numgen inc mod 2 map {{ 0 : {a6}, 1 : {b6} }}:{BACKEND_PORT}"
    ));
    let older = world.dial(at(VIP6, 80), 10);
    let conntrack = world.open();
    assert_all_found(&conntrack, &older);
    assert_all_found(&conntrack, &world.dial(at(VIP, 80), 20));
    assert_all_found(&conntrack, &world.dial(at(VIP6, 80), 20));
    assert_eq!((conntrack.events(), conntrack.status().entries), (40, 0));
}

#[test]
fn udp_and_untranslated_connections_stay_in_the_kernel() {
    let world = World::new();
    world.balance_by_iptables();
    let to_backend = format!("--dport 53 -j DNAT --to {}:53", BACKENDS[0]);
    world.router.sh(&format!("iptables -w -t nat -A PREROUTING -p udp -d {VIP} {to_backend}"));
    // Source translation alone is none of a destination.
    world.router.sh("iptables -w -t nat -A POSTROUTING -p tcp --dport 8080 -j MASQUERADE");
    let conntrack = world.open();
    world.client.enter(|| {
        for _ in 0..20 {
            UdpSocket::bind((CLIENT, 0)).unwrap().send_to(b"?", at(VIP, 53)).unwrap();
        }
    });
    let direct = world.dial(at(BACKENDS[0], BACKEND_PORT), 20);
    let translated = world.dial(at(VIP, 80), 2);
    assert_all_found(&conntrack, &translated);
    assert_eq!(direct[0].found(&conntrack), None);
    assert_eq!(conntrack.events(), 2, "the kernel handed over nothing else");
    let tracked = world.router.sh("conntrack -L 2>/dev/null");
    let count = |part: &str| tracked.lines().filter(|line| line.contains(part)).count();
    assert_eq!((count("udp"), count("tcp")), (20, 22), "all of them were tracked: {tracked}");
    let relisted = world.open();
    assert_eq!((relisted.status().entries, relisted.events()), (2, 0));
}

#[test]
fn a_port_that_is_used_again_has_the_newest_backend() {
    let world = World::new();
    let rule = |action: &str, backend: &str| {
        let target = format!("DNAT --to {backend}:{BACKEND_PORT}");
        world
            .router
            .sh(&format!("iptables -w -t nat {action} PREROUTING -p tcp -d {VIP} --dport 80 -j {target}"));
    };
    let from_one_port = || {
        world.client.enter(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&at(CLIENT, 4000).into()).unwrap();
            socket.connect(&at(VIP, 80).into()).unwrap();
            Dialled::of(TcpStream::from(socket), at(VIP, 80))
        })
    };
    let conntrack = world.open();
    for round in 0..6 {
        let expected = round % 2;
        rule("-A", BACKENDS[expected]);
        let connection = from_one_port();
        assert_eq!(connection.answered, expected);
        assert_eq!(connection.source.port(), 4000);
        // A key that is known is not read anew: the pass that asks has drained before.
        conntrack.drain();
        assert_eq!(connection.found(&conntrack), connection.truth(), "round {round}");
        // Before the rule goes: iptables removes the empty chain, and nothing is translated without it.
        connection.reset();
        rule("-D", BACKENDS[expected]);
        world.router.sh("conntrack -F 2>/dev/null");
    }
    assert_eq!((conntrack.status().entries, conntrack.events()), (0, 6));
}

#[test]
fn node_ports_with_masquerade_and_the_hosts_own_clients_are_found() {
    let world = World::new();
    world.balance_by_iptables();
    let rule = format!("iptables -w -t nat -A PREROUTING -p tcp -d {ROUTER} --dport 30080");
    world.router.sh(&format!(
        "{rule} -m statistic --mode random --probability 0.5 -j DNAT --to {}:{BACKEND_PORT}
         {rule} -j DNAT --to {}:{BACKEND_PORT}
         iptables -w -t nat -A POSTROUTING -p tcp -d 10.231.0.0/16 -j MASQUERADE",
        BACKENDS[0], BACKENDS[1]
    ));
    let conntrack = world.open();
    assert_all_found(&conntrack, &world.dial(at(ROUTER, 30080), 20));
    let own: Vec<_> = world.router.enter(|| (0..20).map(|_| Dialled::new(at(VIP, 80))).collect());
    assert_all_found(&conntrack, &own);
    assert_eq!(conntrack.events(), 40);
}

#[test]
fn an_overrun_is_counted_and_the_table_listed_anew() {
    let world = World::new();
    let [a, b] = BACKENDS;
    // A refused connection is tracked and translated as any other, at the least cost.
    world.router.sh(&format!(
        "iptables -w -t nat -A PREROUTING -p tcp -d {VIP} --dport 1000:1009 -j DNAT --to {a}:9
         iptables -w -t nat -A PREROUTING -p tcp -d {VIP} --dport 80 \
             -m statistic --mode random --probability 0.5 -j DNAT --to {a}:{BACKEND_PORT}
         iptables -w -t nat -A PREROUTING -p tcp -d {VIP} --dport 80 -j DNAT --to {b}:{BACKEND_PORT}"
    ));
    let conntrack = world.open();
    let mut refused = 0;
    world.client.enter(|| {
        while !overrun(&world) {
            for port in 1000..1010 {
                (0..500).for_each(|_| drop(TcpStream::connect(at(VIP, port))));
                refused += 500;
            }
            assert!(refused < 200_000, "the queue holds them all");
        }
    });
    let unheard = world.dial(at(VIP, 80), 20);
    assert_eq!(conntrack.lost(), 0);
    wait_for("the table to be listed anew", || {
        conntrack.drain();
        conntrack.status().reloads == 2
    });
    assert_eq!(conntrack.lost(), 1);
    assert!(conntrack.events() < refused, "{} of {refused} were heard of", conntrack.events());
    assert_all_found(&conntrack, &unheard);
    // And events are heard again.
    let (before, heard) = (conntrack.events(), world.dial(at(VIP, 80), 20));
    assert_all_found(&conntrack, &heard);
    assert_eq!((conntrack.events() - before, conntrack.lost(), conntrack.status().reloads), (20, 1, 2));
}

/// True once a netlink socket of the router's dropped an event. Columns: sk Eth Pid Groups Rmem Wmem Dump Locks Drops.
fn overrun(world: &World) -> bool {
    let sockets = world
        .router
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/netlink").expect("a mounted procfs"));
    let netfilter = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    netfilter.filter(|columns| columns.get(1) == Some(&"12")).any(|columns| columns.get(8) != Some(&"0"))
}

#[test]
fn what_capabilities_do_not_allow_is_told() {
    let world = World::new();
    world.balance_by_iptables();
    let older = world.dial(at(VIP, 80), 2);
    let drop_all_but = |effective| {
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective, permitted: effective, inheritable }).unwrap();
    };
    let open_with = |namespace: &nat::Namespace, capabilities| {
        namespace.enter(|| {
            drop_all_but(capabilities);
            Conntrack::open(world.procfs(), digest).status()
        })
    };
    // The host's namespace is another, and may not be entered.
    let status = open_with(&world.client, CapabilitySet::SYS_PTRACE | CapabilitySet::NET_ADMIN);
    assert!(!status.up, "{status:?}");
    assert!(status.detail.contains("its network namespace cannot be entered: "), "{status:?}");
    // Nothing may be heard, even in the host's own.
    let status = open_with(&world.router, CapabilitySet::empty());
    assert!(!status.up, "{status:?}");
    assert!(status.detail.ends_with(" (CAP_NET_ADMIN)"), "{status:?}");
    // It may not be looked at which one the host's is, as in a container with few capabilities and hostNetwork.
    let status = open_with(&world.router, CapabilitySet::NET_ADMIN);
    assert!(status.up && status.detail.contains("the host's is unknown: "), "{status:?}");
    // What was opened before capabilities were dropped goes on hearing events, and cannot list any more.
    let conntrack = Conntrack::open(world.procfs(), digest);
    world.client.enter(|| {
        drop_all_but(CapabilitySet::empty());
        conntrack.settle(Duration::from_secs(1));
    });
    let status = conntrack.status();
    assert!(status.up && status.reloads_failed == 1, "{status:?}");
    assert!(status.detail.contains("the table cannot be listed: "), "{status:?}");
    assert!(status.detail.ends_with(" (CAP_NET_ADMIN)"), "{status:?}");
    assert_eq!(older[0].found(&conntrack), None);
    assert_all_found(&conntrack, &world.dial(at(VIP, 80), 4));
}
