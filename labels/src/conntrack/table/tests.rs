// SPDX-License-Identifier: Apache-2.0
use super::super::message::tests::entry;
use super::*;

fn address(text: &str) -> (IpAddr, u16) {
    let address: std::net::SocketAddr = text.parse().unwrap();
    (address.ip(), address.port())
}

const VIP: &str = "10.96.0.10:80";

fn to(backend: &str) -> Translation {
    entry("10.0.0.1:40000", VIP, backend)
}

#[test]
fn the_newest_connection_wins() {
    let mut table = Table::new(10);
    table.insert(1, &to("10.0.1.1:8080"));
    table.insert(1, &to("10.0.1.2:8080"));
    assert_eq!(table.len(), 1);
    for (digest, port, dialled) in [(2, 40000, VIP), (1, 40001, VIP), (1, 40000, "10.96.0.10:81")] {
        assert_eq!(table.take(digest, port, address(dialled)), None);
    }
    assert_eq!(table.take(1, 40000, address(VIP)), Some(address("10.0.1.2:8080")));
}

#[test]
fn an_answer_is_given_once() {
    let mut table = Table::new(10);
    table.insert(1, &to("10.0.1.1:8080"));
    assert_eq!(table.take(1, 40000, address(VIP)), Some(address("10.0.1.1:8080")));
    assert_eq!((table.take(1, 40000, address(VIP)), table.len()), (None, 0));
    table.insert(1, &to("10.0.1.2:8080"));
    assert_eq!(table.take(1, 40000, address(VIP)), Some(address("10.0.1.2:8080")));
}

#[test]
fn a_dump_replaces_what_was_known_before_it_and_nothing_told_since() {
    let mut table = Table::new(10);
    table.insert(1, &to("10.0.1.1:8080"));
    table.begin_dump();
    table.insert_listed(1, &to("10.0.1.2:8080"));
    assert_eq!(table.take(1, 40000, address(VIP)), Some(address("10.0.1.2:8080")));
    table.insert(1, &to("10.0.1.3:8080"));
    table.insert_listed(1, &to("10.0.1.2:8080"));
    assert_eq!(table.take(1, 40000, address(VIP)), Some(address("10.0.1.3:8080")));
    table.begin_dump();
    table.insert_listed(1, &to("10.0.1.4:8080"));
    assert_eq!(table.take(1, 40000, address(VIP)), Some(address("10.0.1.4:8080")));
}

#[test]
fn past_its_capacity_it_forgets_the_oldest_of_the_larger_family() {
    let mut table = Table::new(3);
    let v6 = |port: u16| entry(&format!("[fd00::1]:{port}"), "[fd00::10]:80", "[fd00:1::1]:80");
    table.insert(1, &v6(1));
    for port in 1..=3 {
        table.insert(1, &entry(&format!("10.0.0.1:{port}"), VIP, "10.0.1.1:8080"));
    }
    assert_eq!(table.len(), 3);
    assert!(table.take(1, 1, address(VIP)).is_none(), "the oldest");
    assert!(table.take(1, 2, address(VIP)).is_some() && table.take(1, 3, address(VIP)).is_some());
    assert_eq!(table.take(1, 1, address("[fd00::10]:80")), Some(address("[fd00:1::1]:80")));
    for port in 2..9 {
        table.insert(1, &v6(port));
    }
    assert_eq!(table.len(), 3);
}
