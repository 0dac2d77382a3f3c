// SPDX-License-Identifier: Apache-2.0
//! Transcripts of resolvers, with what the kernel hands out of them: NXDOMAIN answers, and queries of clients that had one within
//! the last second.

use super::*;

const A: u16 = 1;
const AAAA: u16 = 28;
const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const KUBERNETES: [&str; 4] =
    ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];

/// Who resolves, and how.
#[derive(Clone, Copy)]
struct Resolver {
    ndots: usize,
    /// Whether names with enough dots are tried with the list as well, after they failed (glibc, Go; not musl).
    list_after_bare: bool,
    /// Servers asked at the same time (musl).
    servers: u32,
}

const GLIBC: Resolver = Resolver { ndots: 5, list_after_bare: true, servers: 1 };
const MUSL: Resolver = Resolver { ndots: 5, list_after_bare: false, servers: 3 };

impl Resolver {
    fn tries(self, name: &str) -> Vec<String> {
        let listed = KUBERNETES.iter().map(|suffix| format!("{name}.{suffix}"));
        if name.matches('.').count() < self.ndots {
            listed.chain([name.to_owned()]).collect()
        } else if self.list_after_bare {
            std::iter::once(name.to_owned()).chain(listed).collect()
        } else {
            vec![name.to_owned()]
        }
    }
}

/// A client, the time, and what was counted.
struct Stage {
    noise: SearchNoise<u32>,
    now: u64,
    /// When a client had its last NXDOMAIN.
    failed: HashMap<Client, u64>,
    answers: u64,
    made_up: u64,
    undecided: u64,
}

const CLIENT: Client = Client::Local(1, 7, 0);

impl Stage {
    fn new() -> Self {
        Self::with(SearchList::default())
    }

    fn with(list: SearchList) -> Self {
        let noise = SearchNoise::new(list);
        Self { noise, now: SECOND, failed: HashMap::new(), answers: 0, made_up: 0, undecided: 0 }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds * MILLISECOND;
    }

    fn asks(&mut self, client: Client, name: &str, qtype: u16) {
        self.now += 1000;
        if self.failed.get(&client).is_some_and(|failed| self.now - failed <= SECOND) {
            self.noise.query(client, self.now, &Name::from_text(name).unwrap(), qtype);
        }
    }

    fn fails(&mut self, client: Client, server: u32, name: &str, qtype: u16) {
        self.now += 1000;
        self.answers += 1;
        self.failed.insert(client, self.now);
        self.noise.nxdomain(client, server, self.now, &Name::from_text(name).unwrap(), qtype);
    }

    /// A lookup of one type, of which only these names exist.
    fn look_up(&mut self, resolver: Resolver, name: &str, qtype: u16, exists: &[&str]) {
        for tried in resolver.tries(name) {
            for _ in 0..resolver.servers {
                self.asks(CLIENT, &tried, qtype);
            }
            self.wait(1);
            if exists.contains(&&*tried) {
                return;
            }
            for server in 0..resolver.servers {
                self.fails(CLIENT, server, &tried, qtype);
            }
        }
    }

    /// A lookup of both types at once, as all of them do.
    fn look_up_both(&mut self, resolver: Resolver, name: &str, exists: &[&str]) {
        for tried in resolver.tries(name) {
            for qtype in [A, AAAA] {
                for _ in 0..resolver.servers {
                    self.asks(CLIENT, &tried, qtype);
                }
            }
            self.wait(1);
            if exists.contains(&&*tried) {
                return;
            }
            for server in 0..resolver.servers {
                for qtype in [AAAA, A] {
                    self.fails(CLIENT, server, &tried, qtype);
                }
            }
        }
    }

    fn take(&mut self) {
        let found = self.noise.take(self.now);
        self.made_up += found.values().map(|findings| findings.made_up).sum::<u64>();
        self.undecided = found.values().map(|findings| findings.undecided).sum();
        assert!(self.made_up + self.undecided <= self.answers);
    }

    /// Errors, and answers that were noise, once all is decided.
    fn ends(&mut self) -> (u64, u64) {
        self.wait(10_000);
        self.take();
        assert_eq!(self.undecided, 0);
        self.take();
        assert!(self.noise.clients.is_empty() && self.noise.lookups == 0, "nothing stays");
        (self.answers - self.made_up, self.made_up)
    }
}

/// What comes of lookups of one kind that each take some time.
fn of_lookups(resolver: Resolver, name: &str, exists: &[&str], times: u64, pause: u64) -> (u64, u64) {
    let mut stage = Stage::new();
    for _ in 0..times {
        stage.look_up_both(resolver, name, exists);
        stage.wait(pause);
    }
    stage.ends()
}

#[test]
fn a_lookup_that_fails_leaves_one_error_for_each_type() {
    for (resolver, name) in [
        // List first.
        (GLIBC, "nosuch"),
        (GLIBC, "nosuch.other-namespace"),
        (GLIBC, "www.example.com"),
        // The whole name of a Service that is missing has four dots.
        (GLIBC, "nosuch.default.svc.cluster.local"),
        // As it is first.
        (Resolver { ndots: 1, ..GLIBC }, "www.example.com"),
        (Resolver { ndots: 1, ..GLIBC }, "nosuch.default.svc.cluster.local"),
        (Resolver { ndots: 1, ..GLIBC }, "nosuch"),
    ] {
        assert_eq!(of_lookups(resolver, name, &[], 1, 0), (2, 8), "{name}, ndots {}", resolver.ndots);
    }
    // musl asks three servers at once: an error at each.
    assert_eq!(of_lookups(MUSL, "nosuch", &[], 1, 0), (6, 24));
    assert_eq!(of_lookups(Resolver { ndots: 1, ..MUSL }, "www.example.com", &[], 1, 0), (6, 0));
}

#[test]
fn a_lookup_that_succeeds_leaves_none() {
    for (name, exists, tries) in [
        ("web", "web.svc.cluster.local", 1),
        ("www.example.com", "www.example.com", 4),
        ("db", "db.corp.example", 3),
    ] {
        assert_eq!(of_lookups(GLIBC, name, &[exists], 1, 0), (0, 2 * tries), "{name}");
        assert_eq!(of_lookups(MUSL, name, &[exists], 1, 0), (0, 6 * tries), "{name}");
    }
    // As it is first, then with the list.
    let bare_first = Resolver { ndots: 1, ..GLIBC };
    assert_eq!(of_lookups(bare_first, "web.prod", &["web.prod.svc.cluster.local"], 1, 0), (0, 4));
}

#[test]
fn programs_that_try_again_and_again_are_counted_lookup_by_lookup() {
    let bare_first = Resolver { ndots: 1, ..GLIBC };
    for pause in [0, 10, 300, 700, 1500] {
        assert_eq!(of_lookups(GLIBC, "nosuch", &[], 20, pause), (40, 160), "every {pause} ms");
        assert_eq!(of_lookups(bare_first, "www.example.com", &[], 20, pause), (40, 160), "every {pause} ms");
        assert_eq!(of_lookups(GLIBC, "www.example.com", &["www.example.com"], 20, pause), (0, 160));
        let exists = &["web.prod.svc.cluster.local"];
        assert_eq!(of_lookups(bare_first, "web.prod", exists, 20, pause), (0, 80), "every {pause} ms");
    }
}

#[test]
fn a_short_name_and_then_the_whole_one_are_two_lookups() {
    let mut stage = Stage::new();
    stage.look_up(GLIBC, "nosuch", A, &[]);
    stage.look_up(GLIBC, "nosuch.default.svc.cluster.local", A, &[]);
    assert_eq!(stage.ends(), (2, 8));
}

#[test]
fn other_names_are_not_taken_for_noise() {
    let mut stage = Stage::new();
    for name in ["db1.corp", "db2.corp", "db3.corp", "corp", "www.a.example", "www.b.example", "ww.a.example"]
    {
        stage.asks(CLIENT, name, A);
        stage.fails(CLIENT, 0, name, A);
    }
    // Up the tree, as mail servers look for a policy.
    for name in ["_dmarc.mail.shop.example", "_dmarc.shop.example"] {
        stage.asks(CLIENT, name, 16);
        stage.fails(CLIENT, 0, name, 16);
    }
    // Of another type, and of another client.
    stage.asks(CLIENT, "web.svc.cluster.local", A);
    stage.fails(CLIENT, 0, "web.svc.cluster.local", A);
    stage.asks(CLIENT, "web", AAAA);
    stage.asks(Client::Local(1, 8, 0), "web", A);
    assert_eq!(stage.ends(), (10, 0));
}

#[test]
fn what_follows_too_late_follows_nothing() {
    let mut stage = Stage::new();
    stage.fails(CLIENT, 0, "web.default.svc.cluster.local", A);
    stage.wait(900);
    stage.asks(CLIENT, "web.svc.cluster.local", A);
    stage.fails(CLIENT, 0, "web.svc.cluster.local", A);
    stage.wait(1100);
    stage.fails(CLIENT, 0, "web", A);
    assert_eq!(stage.ends(), (2, 1));
}

#[test]
fn an_answer_is_undecided_for_a_second() {
    let mut stage = Stage::new();
    stage.fails(CLIENT, 0, "nosuch.corp.example", A);
    stage.take();
    assert_eq!((stage.made_up, stage.undecided), (0, 1));
    stage.wait(500);
    stage.asks(CLIENT, "nosuch", A);
    stage.take();
    assert_eq!((stage.made_up, stage.undecided), (1, 0));
    stage.fails(CLIENT, 0, "nosuch", A);
    stage.wait(999);
    stage.take();
    assert_eq!(stage.undecided, 1);
    stage.wait(2);
    stage.take();
    assert_eq!((stage.made_up, stage.undecided), (1, 0));
}

#[test]
fn threads_do_not_disturb_each_other() {
    // Three threads look the same missing name up, each a step behind the other, and two more look up others.
    let names = ["nosuch", "nosuch", "nosuch", "also.missing", "www.example.com"];
    let mut stage = Stage::new();
    let tries: Vec<Vec<String>> = names.iter().map(|name| GLIBC.tries(name)).collect();
    for step in 0..tries[0].len() + names.len() {
        for (thread, tries) in tries.iter().enumerate() {
            if let Some(name) = step.checked_sub(thread).and_then(|step| tries.get(step)) {
                stage.asks(CLIENT, name, A);
            }
        }
        stage.wait(2);
        for (thread, tries) in tries.iter().enumerate() {
            if let Some(name) = step.checked_sub(thread).and_then(|step| tries.get(step)) {
                stage.fails(CLIENT, 0, name, A);
            }
        }
    }
    assert_eq!(stage.ends(), (5, 20));
}

#[test]
fn queries_sent_again_and_mixed_case_change_nothing() {
    let mut stage = Stage::new();
    for name in ["NoSuch.Default.svc.cluster.local", "nOsuch.SVC.cluster.local", "NOSUCH"] {
        for _ in 0..3 {
            stage.asks(CLIENT, name, A);
            stage.wait(100);
        }
        stage.fails(CLIENT, 0, name, A);
    }
    assert_eq!(stage.ends(), (1, 2));
}

#[test]
fn an_answer_of_a_slow_server_is_noise_once_the_client_has_gone_on() {
    let mut stage = Stage::new();
    stage.fails(CLIENT, 0, "web.default.svc.cluster.local", A);
    stage.asks(CLIENT, "web.svc.cluster.local", A);
    stage.wait(20);
    stage.fails(CLIENT, 1, "web.default.svc.cluster.local", A);
    assert_eq!(stage.ends(), (0, 2));
}

#[test]
fn lists_that_nothing_is_known_of_show_in_the_bare_name() {
    let mut stage = Stage::new();
    for name in ["db.one.example", "db.two.test", "db.three.invalid", "db"] {
        stage.asks(CLIENT, name, A);
        stage.fails(CLIENT, 0, name, A);
    }
    assert_eq!(stage.ends(), (1, 3));
    // The host's own list is known, so the bare name is not needed.
    let tell = |list: &str| {
        let mut stage = Stage::with(SearchList::parse(list));
        for name in ["db.one.example", "db.two.test"] {
            stage.asks(CLIENT, name, A);
            stage.fails(CLIENT, 0, name, A);
        }
        stage.ends()
    };
    assert_eq!((tell("search one.example two.test"), tell("")), ((1, 1), (2, 0)));
}

#[test]
fn the_servers_side_tells_its_clients_apart() {
    let mut stage = Stage::new();
    let [one, other] = [1, 2].map(|last| Client::Remote(1, [10, 0, 0, last].into()));
    for name in GLIBC.tries("nosuch") {
        for client in [one, other] {
            stage.asks(client, &name, A);
            stage.fails(client, 0, &name, A);
        }
    }
    assert_eq!(stage.ends(), (2, 8));
}

#[test]
fn a_flood_of_names_is_bounded_and_costs_others_nothing() {
    let mut stage = Stage::new();
    stage.fails(CLIENT, 0, "web.default.svc.cluster.local", A);
    let hostile = Client::Remote(1, [192, 0, 2, 1].into());
    for n in 0..20_000 {
        stage.fails(hostile, 0, &format!("x{n}.example"), A);
    }
    for n in 0..5000 {
        stage.fails(hostile, 0, &format!("same.example{n}"), A);
    }
    assert!(stage.noise.lookups <= MOST_PER_CLIENT + 1, "{}", stage.noise.lookups);
    stage.asks(CLIENT, "web.svc.cluster.local", A);
    stage.take();
    assert_eq!(stage.made_up, 1);
    for n in 0..100_u32 {
        for name in 0..200 {
            stage.fails(Client::Remote(2, n.to_be_bytes().into()), 0, &format!("y{name}.example"), A);
        }
    }
    assert!(stage.noise.lookups <= MOST_LOOKUPS, "{}", stage.noise.lookups);
    let counted: usize = stage.noise.clients.iter().map(|(_, lookups)| lookups.len()).sum();
    assert_eq!(counted, stage.noise.lookups);
    stage.ends();
}
