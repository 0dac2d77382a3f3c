// SPDX-License-Identifier: Apache-2.0
//! Both sides, without a kernel.

use std::time::{Duration, Instant};

use flowgauge_probes::packets::UdpCounts;

use super::balance::{Audited, Balance};
use super::counted::{Own, Sum};
use super::{Audit, Counted, Mib, SPAN, Snmp};

fn snmp<const N: usize>(values: [(Mib, u64); N]) -> Snmp {
    let mut snmp = Snmp::default();
    for (mib, value) in values {
        snmp[mib] = value;
    }
    snmp
}

fn own<const N: usize>(values: [(Sum, u64); N]) -> Own {
    let mut own = Own::default();
    for (sum, value) in values {
        own[sum] = value;
    }
    own
}

/// Datagrams that flowgauge counted in a namespace.
fn datagrams(counted: &mut Counted, netns: u32, sent: u64) {
    counted.udp(netns, &UdpCounts { sent_packets: sent, ..UdpCounts::default() });
}

/// A pass after what was read last. The clock of tests is given.
fn compare(audit: &Audit, counted: &Counted, now: Instant) {
    audit.inner.lock().read.values_mut().for_each(|side| side.at = now);
    audit.compare(counted, now, now);
}

fn udp(audit: &Audit) -> Option<Balance> {
    let balances = audit.inner.lock().balances(true, true);
    balances.into_iter().find(|(audited, _)| *audited == Audited::UdpSent).map(|(_, balance)| balance)
}

#[test]
fn what_no_socket_does_is_taken_off() {
    let snmp = snmp([
        (Mib::TcpOutSegs, 1000),
        (Mib::TcpRetransSegs, 50),
        (Mib::TcpPassiveOpens, 30),
        (Mib::SyncookiesSent, 9),
        (Mib::SyncookiesRecv, 4),
        (Mib::EmbryonicRsts, 2),
        (Mib::TcpOutRsts, 17),
        (Mib::TcpInSegs, 800),
        (Mib::TcpInCsumErrors, 1),
        (Mib::ListenDrops, 6),
        (Mib::IpInReceives, 900),
        (Mib::IpInMarks, 1100),
        (Mib::TcpActiveOpens, 20),
        (Mib::UdpInDatagrams, 70),
        (Mib::UdpInErrors, 30),
        (Mib::UdpOutDatagrams, 40),
    ]);
    let own = own([
        (Sum::SentSegments, 990),
        (Sum::ReceivedSegments, 955),
        (Sum::Retransmitted, 47),
        (Sum::SynAckRetransmits, 3),
        (Sum::Begun, 55),
        (Sum::WithoutPort, 5),
        (Sum::ResetsSent, 7),
        (Sum::HandedOver, 8),
        (Sum::SentDatagrams, 45),
        (Sum::SentJoined, 5),
        (Sum::ReceivedDatagrams, 115),
        (Sum::ReceivedJoined, 15),
    ]);
    let expected = [
        // 30 SYN-ACKs, 3 sent again and counted twice, 5 cookies and 2 requests that came to nothing; 10 resets; 8 of TIME-WAIT.
        (990, 1050 - (30 + 6 + 5 + 2 + 10 + 8)),
        // 200 were merged, 15 of them datagrams; 5 + 4 + 6 of requests, a damaged one, 10 answered by a reset, 8 of TIME-WAIT.
        (955, 800 + 185 - (5 + 4 + 6 + 1 + 10 + 8)),
        (50, 50),
        (50, 50),
        (40, 40),
        (100, 100),
    ];
    for (audited, (counted, expected)) in Audited::ALL.into_iter().zip(expected) {
        assert_eq!(audited.balance(&own, &snmp), Balance { counted, expected }, "{audited:?}");
    }
}

#[test]
fn only_what_both_sides_saw_counts() {
    let (audit, mut counted) = (Audit::default(), Counted::default());
    let now = Instant::now();
    let sent = |count| snmp([(Mib::UdpOutDatagrams, count)]);
    // Before the first reading, on either side.
    datagrams(&mut counted, 1, 700);
    audit.read(11, 1, sent(500));
    compare(&audit, &counted, now);
    assert_eq!(udp(&audit), Some(Balance { counted: 0, expected: 0 }));
    // Another namespace is never read.
    datagrams(&mut counted, 1, 90);
    datagrams(&mut counted, 2, 1000);
    // Not read before this pass: what flowgauge counted waits for the kernel's word.
    compare(&audit, &counted, now);
    assert_eq!(udp(&audit), Some(Balance { counted: 0, expected: 0 }));
    audit.read(11, 1, sent(600));
    compare(&audit, &counted, now);
    assert_eq!(udp(&audit), Some(Balance { counted: 90, expected: 100 }));
    // Read before this scrape, or too late for its pass.
    audit.read(11, 1, sent(9999));
    audit.compare(&counted, Instant::now() + Duration::from_secs(1), Instant::now() + Duration::from_secs(2));
    audit.read(11, 1, sent(9999));
    audit.compare(&counted, now, now);
    assert_eq!(udp(&audit), Some(Balance { counted: 90, expected: 100 }));
    // Gone, and another one with its number.
    audit.forget(11);
    datagrams(&mut counted, 1, 33);
    audit.read(12, 1, sent(5));
    compare(&audit, &counted, now);
    datagrams(&mut counted, 1, 10);
    audit.read(12, 1, sent(15));
    compare(&audit, &counted, now);
    assert_eq!(udp(&audit), Some(Balance { counted: 100, expected: 110 }));
}

#[test]
fn the_span_moves_on() {
    let (audit, mut counted) = (Audit::default(), Counted::default());
    let begin = Instant::now();
    let mut told = Vec::new();
    // Every two minutes the kernel sends 100; at the start flowgauge sees a half of them.
    for step in 0..=10 {
        if step > 0 {
            datagrams(&mut counted, 1, if step <= 2 { 50 } else { 100 });
        }
        audit.read(11, 1, snmp([(Mib::UdpOutDatagrams, 100 * step)]));
        compare(&audit, &counted, begin + Duration::from_secs(120 * step));
        let Balance { counted, expected } = udp(&audit).unwrap();
        told.push((counted, expected));
    }
    assert_eq!(told[2], (100, 200));
    assert_eq!(told[10], (400, 400), "what was wrong long ago is not told any more: {told:?}");
    let longest = told.iter().map(|(_, expected)| expected / 100 * 120).max().unwrap();
    assert!(longest <= 2 * SPAN.as_secs() + 120, "{told:?}");
}

#[test]
fn where_packets_are_forwarded_nobody_knows_whose_were_merged() {
    let (audit, counted) = (Audit::default(), Counted::default());
    for round in 0..2 {
        audit.read(1, 1, snmp([(Mib::TcpInSegs, 500 * round), (Mib::IpForwarded, 1)]));
        audit.read(2, 2, snmp([(Mib::TcpInSegs, 30 * round)]));
        compare(&audit, &counted, Instant::now());
    }
    let balances = audit.inner.lock().balances(true, false);
    let received = balances.iter().find(|(audited, _)| *audited == Audited::ReceivedSegments).unwrap().1;
    assert_eq!(received.expected, 30);
    assert_eq!(balances.len(), 4, "nothing of a collector that does not run");
}
