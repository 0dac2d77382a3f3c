// SPDX-License-Identifier: Apache-2.0

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::testing::*;
use super::*;

/// `asked [canonical…] address/ttl…`
fn read(message: &[u8]) -> String {
    match Answer::parse(message) {
        Err(Malformed) => "malformed".to_owned(),
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Answer { asked, canonical, addresses })) => {
            let addresses: Vec<String> =
                addresses.iter().map(|(addr, ttl)| format!(" {addr}/{ttl}")).collect();
            format!("{asked} [{}]{}", canonical.join(" "), addresses.concat())
        }
    }
}

#[test]
fn addresses_of_the_question() {
    let message = Response::to("API.Example.com", A)
        .record("api.example.COM", A, 60, v4("198.41.0.4"))
        .record("api.example.com", A, 30, v4("198.41.0.5"))
        .record("api.example.com", AAAA, 90, v6("2001:db9::1"))
        .record("api.example.com", AAAA, 90, v6("::ffff:198.41.0.4"));
    let wanted = "api.example.com [] 198.41.0.4/60 198.41.0.5/30 2001:db9::1/90";
    assert_eq!(read(&message.bytes()), wanted);
}

#[test]
fn compressed_owners_and_targets() {
    let message = Response::to("www.example.com", A)
        .raw(&[0xc0, 12], CNAME, 1, 60, b"\x03cdn\xc0\x10".to_vec())
        .raw(&[0xc0, 0x2d], A, 1, 20, v4("198.41.0.4"));
    assert_eq!(read(&message.bytes()), "www.example.com [cdn.example.com] 198.41.0.4/20");
}

#[test]
fn chains_are_followed_in_whatever_order_they_stand() {
    let message = Response::to("www.example.com", A)
        .record("c.cdn.net", A, 300, v4("198.41.0.4"))
        .record("b.cdn.net", CNAME, 20, name("c.cdn.net"))
        .record("www.example.com", CNAME, 3600, name("b.cdn.net"));
    assert_eq!(read(&message.bytes()), "www.example.com [b.cdn.net c.cdn.net] 198.41.0.4/20");
    let dname = Response::to("a.b.old.example", A)
        .record("old.example", DNAME, 50, name("new.example"))
        .record("a.b.new.example", A, 70, v4("198.41.0.4"))
        .record("old.example", A, 70, v4("198.41.0.5"));
    assert_eq!(read(&dname.bytes()), "a.b.old.example [a.b.new.example] 198.41.0.4/50");
    let beside = Response::to("xold.example", A)
        .record("old.example", DNAME, 50, name("new.example"))
        .record("xnew.example", A, 70, v4("198.41.0.4"));
    assert_eq!(read(&beside.bytes()), "nothing", "not below the owner");
}

#[test]
fn nothing_but_the_question_and_its_chain_is_believed() {
    let poisoned = Response::to("www.evil.example", A)
        .record("www.evil.example", A, 60, v4("198.41.0.4"))
        .record("www.bank.example", A, 60, v4("198.41.0.5"))
        .record("bank.example", CNAME, 60, name("www.evil.example"))
        .record("www.evil.example", NS, 60, name("ns.bank.example"))
        .raw(&name("www.evil.example"), A, 3, 60, v4("198.41.0.6"));
    assert_eq!(read(&poisoned.bytes()), "www.evil.example [] 198.41.0.4/60");
    let elsewhere = Response::to("www.evil.example", A).record("www.bank.example", A, 60, v4("198.41.0.5"));
    assert_eq!(read(&elsewhere.bytes()), "nothing");
}

#[test]
fn loops_end_and_long_chains_are_cut() {
    let circle = Response::to("a.example", A)
        .record("a.example", CNAME, 60, name("b.example"))
        .record("b.example", CNAME, 60, name("a.example"))
        .record("b.example", A, 60, v4("198.41.0.4"));
    assert_eq!(read(&circle.bytes()), "a.example [b.example] 198.41.0.4/60");
    let itself = Response::to("a.example", A).record("a.example", CNAME, 60, name("a.example")).record(
        "example",
        DNAME,
        60,
        name("x.example"),
    );
    assert_eq!(read(&itself.bytes()), "nothing");
    let chain = |length: usize| {
        let link = |at: usize| format!("n{at}.example");
        let links = (0..length).fold(Response::to(&link(0), A), |message, at| {
            message.record(&link(at), CNAME, 60, name(&link(at + 1)))
        });
        read(&links.record(&link(length), A, 60, v4("198.41.0.4")).bytes())
    };
    assert!(chain(MAX_CHAIN - 1).ends_with(" n15.example] 198.41.0.4/60"));
    assert_eq!(chain(MAX_CHAIN), "nothing");
}

#[test]
fn service_bindings() {
    let both = [(1, b"\x02h2".to_vec()), (4, v4("198.41.0.4")), (6, v6("2001:db9::1"))];
    let own = Response::to("shop.example", HTTPS).record("shop.example", HTTPS, 60, binding(1, "", &both));
    assert_eq!(read(&own.bytes()), "shop.example [] 198.41.0.4/60 2001:db9::1/60");
    let target = Response::to("shop.example", HTTPS)
        .record("shop.example", HTTPS, 60, binding(1, "pool.cdn.net", &both[1..2]))
        .record("pool.cdn.net", A, 30, v4("198.41.0.5"));
    assert_eq!(read(&target.bytes()), "shop.example [pool.cdn.net] 198.41.0.4/60 198.41.0.5/30");
    let alias = Response::to("shop.example", SVCB)
        .record("shop.example", SVCB, 60, binding(0, "pool.cdn.net", &[]))
        .record("pool.cdn.net", SVCB, 50, binding(1, "", &both[2..]));
    assert_eq!(read(&alias.bytes()), "shop.example [pool.cdn.net] 2001:db9::1/50");
    let absent = Response::to("shop.example", HTTPS).record("shop.example", HTTPS, 60, binding(0, "", &both));
    assert_eq!(read(&absent.bytes()), "nothing", "there is no such service");
    let odd = [(4, vec![1, 2, 3])];
    let odd = Response::to("shop.example", HTTPS).record("shop.example", HTTPS, 60, binding(1, "", &odd));
    assert_eq!(read(&odd.bytes()), "nothing", "a hint that is no address");
}

#[test]
fn what_is_no_answer() {
    let good = Response::to("a.example", A).record("a.example", A, 60, v4("198.41.0.4"));
    let with = |flags: u16| read(&Response { flags, ..good.clone() }.bytes());
    assert_eq!(with(0x8183), "nothing", "NXDOMAIN");
    assert_eq!(with(0x8182), "nothing", "SERVFAIL");
    assert_eq!(with(0xa980), "nothing", "a dynamic update");
    assert_eq!(with(0x0100), "malformed", "a query");
    assert_eq!(with(0x8380), "a.example [] 198.41.0.4/60", "truncated at the end of a record");
    assert_eq!(read(&Response::to("a.example", A).bytes()), "nothing", "no data");
    for asked in ["1.2.3.4", "", "a b.example", "é.example", "x.123"] {
        let odd = Response::to(asked, A).record(asked, A, 60, v4("198.41.0.4"));
        assert_eq!(read(&odd.bytes()), "nothing", "{asked:?}");
    }
    for addr in ["0.0.0.0", "127.0.0.1", "224.0.0.1"] {
        assert_eq!(read(&answer("ads.example", 60, &[addr])), "nothing", "{addr}");
    }
    let two_questions = {
        let mut message = good.bytes();
        message[5] = 2;
        message
    };
    assert_eq!(read(&two_questions), "malformed");
    assert_eq!(read(&[]), "malformed");
}

#[test]
fn times_to_live() {
    let with =
        |ttl: u32| read(&Response::to("a.example", A).record("a.example", A, ttl, v4("198.41.0.4")).bytes());
    assert_eq!(with(0), "a.example [] 198.41.0.4/0");
    assert_eq!(with(0x7fff_ffff), "a.example [] 198.41.0.4/2147483647");
    assert_eq!(with(0x8000_0000), "a.example [] 198.41.0.4/0", "RFC 2181, section 8");
}

#[test]
fn a_message_that_breaks_off_counts_until_there() {
    let message = Response::to("a.example", A).record("a.example", A, 60, v4("198.41.0.4")).record(
        "a.example",
        A,
        60,
        v4("198.41.0.5"),
    );
    let bytes = message.bytes();
    let first = bytes.len() - name("a.example").len() - 14;
    for length in 0..bytes.len() {
        let wanted = if length < first { "malformed" } else { "a.example [] 198.41.0.4/60" };
        assert_eq!(read(&bytes[..length]), wanted, "{length} bytes");
    }
    let address = |number: u32| std::net::Ipv4Addr::from(0x0800_0000 + number).octets().to_vec();
    let many = (0..1000).fold(Response::to("a.example", A), |message, number| {
        message.raw(&[0xc0, 12], A, 1, 60, address(number))
    });
    let Ok(Some(answer)) = Answer::parse(&many.bytes()) else { panic!("no answer") };
    assert_eq!(answer.addresses.len(), (MAX_MESSAGE - 27) / 16);
}

/// Records whose owner is a chain of pointers, as long as the library follows.
fn bomb() -> Vec<u8> {
    let mut data = vec![0];
    let start = 12 + name("a.example").len() + 4 + 11;
    for at in 0..254_usize {
        let to = if at == 0 { start } else { start + 1 + (at - 1) * 2 };
        data.extend((0xc000 | to as u16).to_be_bytes());
    }
    let last = start + 1 + 253 * 2;
    let bomb = Response::to("a.example", A).raw(&[0], NS, 1, 0, data);
    let owner = (0xc000 | last as u16).to_be_bytes();
    (0..220).fold(bomb, |message, _| message.raw(&owner, CNAME, 1, 0, owner.to_vec())).bytes()
}

#[test]
fn a_bomb_of_pointers_costs_little() {
    let message = bomb();
    assert!(message.len() <= MAX_MESSAGE);
    let started = Instant::now();
    assert_eq!(read(&message), "nothing");
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    let forward = Response::to("a.example", A).raw(&[0xc0, 0xff], A, 1, 60, v4("198.41.0.4"));
    assert_eq!(read(&forward.bytes()), "malformed");
}

proptest! {
    #[test]
    fn never_panics_on_noise(message in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Answer::parse(&message);
    }

    #[test]
    fn never_panics_on_damage(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        end in any::<prop::sample::Index>(),
    ) {
        let hints = [(4, v4("198.41.0.4")), (6, v6("2001:db9::1"))];
        let mut message = Response::to("www.example.com", HTTPS)
            .raw(&[0xc0, 12], CNAME, 1, 60, b"\x03cdn\xc0\x10".to_vec())
            .record("cdn.example.com", DNAME, 60, name("x.example"))
            .raw(&[0xc0, 12], HTTPS, 1, 60, binding(1, "b.example", &hints))
            .record("b.example", A, 60, v4("198.41.0.4"))
            .bytes();
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        message.truncate(end.index(message.len()) + 1);
        if let Ok(Some(answer)) = Answer::parse(&message) {
            prop_assert!(answer.canonical.len() < MAX_CHAIN);
            prop_assert!(!answer.asked.is_empty() && answer.asked.len() <= MAX_NAME);
            for name in answer.canonical.iter().chain([&answer.asked]) {
                let domain = super::super::registrable_domain(name);
                prop_assert!(!domain.is_empty() && name.ends_with(domain));
            }
        }
    }
}
