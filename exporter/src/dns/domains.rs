// SPDX-License-Identifier: Apache-2.0
//! Answers by registrable domain: the busiest by name, the rest as `other`.
//!
//! Exact for the answers it is told of. A domain is counted by name from when it is found to be among the busiest; what it had
//! before is in `other`. One that no longer is gives its place up, and `other` takes what it had: no counter falls, and the sum over all
//! domains is that of all answers.

use std::collections::HashMap;

use flowgauge_probes::packets::RCODES;
use foldhash::fast::RandomState;

use super::name::Name;

/// What the rest is called; no domain has this name, for it has no dot.
pub const OTHER: &str = "other";

/// Domains that may become busy that are watched, for each that is counted by name.
const WATCHED: usize = 4;

/// Answers after which what came before counts half in finding the busiest.
const HALVING: u32 = 1 << 16;

/// By how many answers, and to which part of them, a domain must be busier to take another's place.
const MARGIN: u64 = 16;

/// Where the codes of EDNS begin among [`RCODES`], which the header alone does not have.
const BADVERS: usize = 11;

/// Answers by code.
pub type ByCode = [u64; RCODES.len()];

#[derive(Debug, Default)]
struct Named {
    answers: ByCode,
    /// How busy it is of late.
    score: u64,
}

/// Answers by domain.
#[derive(Debug)]
pub struct Domains {
    limit: usize,
    named: HashMap<Box<str>, Named, RandomState>,
    watched: HashMap<Box<str>, u64, RandomState>,
    other: ByCode,
    /// Not above the score of any that is named.
    least: u64,
    /// Answers until scores are halved.
    until_halving: u32,
}

impl Domains {
    /// At most `limit` by name; 0 for none at all.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            named: HashMap::default(),
            watched: HashMap::default(),
            other: [0; RCODES.len()],
            least: 0,
            until_halving: HALVING,
        }
    }

    /// Whether any are counted.
    pub fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Counts an answer to a question about `name` (None for the root) with a code of the header, which for the first
    /// eleven is the place in [`RCODES`].
    pub fn count(&mut self, name: Option<&Name>, rcode: usize) {
        if !self.is_on() {
            return;
        }
        // The header's codes 11 to 15 are those of nobody.
        let rcode = if rcode < BADVERS { rcode } else { RCODES.len() - 1 };
        self.until_halving -= 1;
        if self.until_halving == 0 {
            self.halve();
        }
        let Some(domain) = name.and_then(registrable) else {
            self.other[rcode] += 1;
            return;
        };
        if !self.named.contains_key(&*domain) && !self.admit(&domain) {
            self.other[rcode] += 1;
            return;
        }
        let named = self.named.entry(domain.into()).or_default();
        named.answers[rcode] += 1;
        named.score += 1;
    }

    /// Whether a domain not counted by name is from now on.
    fn admit(&mut self, domain: &str) -> bool {
        if self.named.len() < self.limit {
            return true;
        }
        let score = match self.watched.get_mut(domain) {
            Some(score) => {
                *score += 1;
                *score
            }
            None => {
                self.make_room();
                self.watched.insert(domain.into(), 1);
                1
            }
        };
        let busier = |least: u64| score > least + least / 4 + MARGIN;
        if !busier(self.least) {
            return false;
        }
        let Some((least, idlest)) = self.named.iter().map(|(domain, named)| (named.score, domain)).min()
        else {
            return false;
        };
        let idlest = idlest.clone();
        self.least = least;
        if !busier(least) {
            return false;
        }
        if let Some(gone) = self.named.remove(&idlest) {
            for (sum, more) in self.other.iter_mut().zip(gone.answers) {
                *sum += more;
            }
            self.watched.insert(idlest, gone.score);
        }
        self.watched.remove(domain);
        self.named.insert(domain.into(), Named { score, ..Named::default() });
        true
    }

    /// Forgets those watched that were asked for least, should there be no room for another.
    fn make_room(&mut self) {
        while self.watched.len() >= self.limit * WATCHED {
            self.watched.retain(|_, score| {
                *score /= 2;
                *score > 0
            });
        }
    }

    fn halve(&mut self) {
        self.until_halving = HALVING;
        self.least /= 2;
        self.named.values_mut().for_each(|named| named.score /= 2);
        self.watched.retain(|_, score| {
            *score /= 2;
            *score > 0
        });
    }

    /// Answers by domain, `other` at the end.
    pub fn served(&self) -> impl Iterator<Item = (&str, &ByCode)> {
        let named = self.named.iter().map(|(domain, named)| (&**domain, &named.answers));
        named.chain(self.is_on().then_some((OTHER, &self.other)))
    }
}

/// The registrable domain of a name by the public suffix list; of names that are or have none (`localhost`, `com`), the name. All
/// reverse lookups are one domain. None for what is not printed safely.
fn registrable(name: &Name) -> Option<String> {
    let clean = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut text = String::with_capacity(name.wire().len());
    for label in name.labels() {
        if !label.iter().all(clean) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
    }
    for reverse in ["in-addr.arpa", "ip6.arpa"] {
        if text.strip_suffix(reverse).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
            return Some(reverse.to_owned());
        }
    }
    let domain = flowgauge_labels::registrable_domain(&text);
    // Not to be taken for the rest.
    (domain != OTHER).then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn of(domains: &Domains, domain: &str) -> Option<u64> {
        domains.served().find(|(served, _)| *served == domain).map(|(_, answers)| answers.iter().sum())
    }

    #[test]
    fn names_are_counted_by_registrable_domain() {
        for (asked, domain) in [
            ("www.example.com", Some("example.com")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("co.uk", Some("co.uk")),
            ("localhost", Some("localhost")),
            ("api.default.svc.cluster.local", Some("cluster.local")),
            ("4.3.2.1.in-addr.arpa", Some("in-addr.arpa")),
            ("_dmarc.Example.COM", Some("example.com")),
            ("other", None),
            ("a\"b.example", None),
        ] {
            assert_eq!(registrable(&name(asked)).as_deref(), domain, "{asked}");
        }
    }

    #[test]
    fn the_busiest_have_their_own_and_nothing_is_lost() {
        let mut domains = Domains::new(3);
        let mut told = 0;
        let mut before: HashMap<String, u64> = HashMap::new();
        for round in 0..2000_u32 {
            for busy in ["a.example.com", "b.example.org", "c.example.net"] {
                domains.count(Some(&name(busy)), 0);
                told += 1;
            }
            for n in 0..5 {
                domains.count(Some(&name(&format!("x.rare-{}.com", round * 5 + n))), 3);
                told += 1;
            }
            let now: HashMap<String, u64> =
                domains.served().map(|(domain, answers)| (domain.to_owned(), answers.iter().sum())).collect();
            assert!(now.len() <= 4 && domains.watched.len() <= 3 * WATCHED);
            for (domain, count) in &now {
                assert!(before.get(domain).is_none_or(|earlier| earlier <= count), "{domain} fell");
            }
            assert_eq!(now.values().sum::<u64>(), told);
            before = now;
        }
        for busy in ["example.com", "example.org", "example.net"] {
            assert!(of(&domains, busy) >= Some(1900), "{busy}: {:?}", of(&domains, busy));
        }
        assert!(of(&domains, OTHER) >= Some(10_000));
    }

    #[test]
    fn who_becomes_busy_takes_the_place_of_who_was() {
        let mut domains = Domains::new(1);
        for _ in 0..1000 {
            domains.count(Some(&name("www.old.com")), 0);
        }
        for _ in 0..1000 {
            domains.count(Some(&name("www.new.com")), 0);
        }
        assert_eq!((of(&domains, "old.com"), of(&domains, "new.com")), (Some(1000), None));
        for _ in 0..1000 {
            domains.count(Some(&name("www.new.com")), 0);
        }
        let (new, other) = (of(&domains, "new.com").unwrap(), of(&domains, OTHER).unwrap());
        assert!(of(&domains, "old.com").is_none() && new > 700, "{new}");
        assert_eq!(new + other, 3000);
    }

    #[test]
    fn what_has_no_domain_is_other() {
        let mut domains = Domains::new(2);
        domains.count(None, 0);
        domains.count(Some(&name("a b.com")), 15);
        assert_eq!((of(&domains, OTHER), domains.named.len()), (Some(2), 0));
        let (_, answers) = domains.served().next().unwrap();
        assert_eq!((answers[0], answers[RCODES.len() - 1]), (1, 1));
        assert_eq!(Domains::new(0).served().count(), 0);
    }
}
