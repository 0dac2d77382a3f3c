// SPDX-License-Identifier: Apache-2.0
//! Passwords, as HTTP's Basic scheme carries them (RFC 7617), against bcrypt hashes.
//!
//! bcrypt is slow by intent: a wrong password costs the server as much as a right one. So one is computed at a time, each
//! source waits for its own turn first, so that nobody's guesses keep another's first request waiting, and what came out is
//! remembered under a keyed hash: a scraper pays once.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use lru::LruCache;
use parking_lot::Mutex;
use ring::{hmac, rand};
use tokio::sync::Semaphore;

use super::slots::Source;

/// Outcomes remembered, good and bad ones apart, so that guesses forget no good one.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Requests that may wait for bcrypt at the same time; more are sent away.
const MOST_WAITING: usize = 64;
/// bcrypt looks at 72 bytes; more than a header's worth of them is nobody's password.
const LONGEST_PASSWORD: usize = 1024;

/// Users and their bcrypt hashes.
pub struct Users {
    hashes: BTreeMap<String, String>,
}

impl Users {
    /// These, each with a hash that [`is_hash`](Self::is_hash).
    pub fn new(hashes: BTreeMap<String, String>) -> Self {
        Self { hashes }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether the text is a hash that passwords can be compared with.
    pub fn is_hash(text: &str) -> bool {
        text.parse::<bcrypt::HashParts>().is_ok_and(|parts| (4..=31).contains(&parts.get_cost()))
    }

    /// The hash to compare with, and whether a match counts: who is nobody takes as long as who is somebody.
    fn hash_of(&self, name: &str) -> Option<(&str, bool)> {
        match self.hashes.get(name) {
            Some(hash) => Some((hash, true)),
            None => self.hashes.values().next().map(|hash| (hash.as_str(), false)),
        }
    }
}

/// What became of a request's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A user with the right password.
    Good,
    /// Nobody, or not with this password.
    Bad,
    /// Too many wait for theirs to be looked at.
    Busy,
}

type Tag = [u8; 32];

/// Remembers outcomes, and keeps order among those who wait. One for the whole program.
pub struct Authenticator {
    key: hmac::Key,
    good: Mutex<LruCache<Tag, ()>>,
    bad: Mutex<LruCache<Tag, ()>>,
    /// bcrypt's one worker.
    worker: Arc<Semaphore>,
    /// Who waits, each source with a turn of its own.
    waiting: Mutex<HashMap<Source, Waiting>>,
}

struct Waiting {
    turn: Arc<Semaphore>,
    requests: usize,
}

impl Authenticator {
    /// With a key that no other process has.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub fn new() -> anyhow::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_| anyhow::anyhow!("the kernel gives no random numbers"))?;
        Ok(Self {
            key,
            good: Mutex::new(LruCache::new(REMEMBERED)),
            bad: Mutex::new(LruCache::new(REMEMBERED)),
            worker: Arc::new(Semaphore::new(1)),
            waiting: Mutex::default(),
        })
    }

    /// Looks at a request's `Authorization`.
    pub async fn check(&self, users: &Users, header: Option<&HeaderValue>, source: Source) -> Verdict {
        let Some((name, password)) = header.and_then(credentials) else { return Verdict::Bad };
        let Some((hash, counts)) = users.hash_of(&name) else { return Verdict::Bad };
        let tag = self.tag(&name, hash, &password);
        if let Some(verdict) = self.known(&tag) {
            return verdict;
        }
        let Some(place) = self.queue(source) else { return Verdict::Busy };
        let Ok(_turn) = Arc::clone(&place.turn).acquire_owned().await else { return Verdict::Busy };
        // Whoever waited behind the same credentials has their answer by now.
        if let Some(verdict) = self.known(&tag) {
            return verdict;
        }
        let Ok(working) = Arc::clone(&self.worker).acquire_owned().await else { return Verdict::Busy };
        let hash = hash.to_owned();
        let compared = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, whatever becomes of who waits for it.
            let _working = working;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        let good = compared.await.unwrap_or(false) && counts;
        let outcomes = if good { &self.good } else { &self.bad };
        outcomes.lock().put(tag, ());
        if good { Verdict::Good } else { Verdict::Bad }
    }

    fn known(&self, tag: &Tag) -> Option<Verdict> {
        if self.good.lock().get(tag).is_some() {
            return Some(Verdict::Good);
        }
        self.bad.lock().get(tag).map(|()| Verdict::Bad)
    }

    /// Of a name, the hash in force and a password; each with its length, so that none runs into the next.
    fn tag(&self, name: &str, hash: &str, password: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// A place among those who wait; None if there is none left.
    fn queue(&self, source: Source) -> Option<Place<'_>> {
        let mut waiting = self.waiting.lock();
        let all: usize = waiting.values().map(|one| one.requests).sum();
        // One source alone may not take all the places.
        let own = waiting.get(&source).map_or(0, |one| one.requests);
        if all >= MOST_WAITING && own > 0 || all >= 2 * MOST_WAITING {
            return None;
        }
        let one = waiting
            .entry(source)
            .or_insert_with(|| Waiting { turn: Arc::new(Semaphore::new(1)), requests: 0 });
        one.requests += 1;
        Some(Place { of: self, source, turn: Arc::clone(&one.turn) })
    }
}

/// A place among those who wait, given back when dropped.
struct Place<'a> {
    of: &'a Authenticator,
    source: Source,
    turn: Arc<Semaphore>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.of.waiting.lock();
        if let Some(one) = waiting.get_mut(&self.source) {
            one.requests -= 1;
            if one.requests == 0 {
                waiting.remove(&self.source);
            }
        }
    }
}

/// Name and password of the Basic scheme.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_matches(' ')).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    let password = decoded[colon + 1..].to_vec();
    (password.len() <= LONGEST_PASSWORD).then_some((name, password))
}

#[cfg(test)]
mod tests {
    use super::{Authenticator, BASE64_STANDARD, BTreeMap, Source, Users, Verdict};
    use base64::Engine as _;
    use hyper::header::HeaderValue;

    fn users(of: &[(&str, &str)]) -> Users {
        let hash = |(name, password): &(&str, &str)| ((*name).to_owned(), bcrypt::hash(password, 4).unwrap());
        Users::new(of.iter().map(hash).collect())
    }

    fn basic(text: &str) -> HeaderValue {
        format!("bAsIc {}", BASE64_STANDARD.encode(text)).parse().unwrap()
    }

    #[tokio::test]
    async fn the_right_password_of_the_right_user_alone() {
        let users = users(&[("anna", "über:geheim"), ("bert", "")]);
        let authenticator = Authenticator::new().unwrap();
        for (text, expected) in [
            ("anna:über:geheim", Verdict::Good),
            ("anna:über:geheim", Verdict::Good),
            ("anna:über", Verdict::Bad),
            ("Anna:über:geheim", Verdict::Bad),
            ("bert:", Verdict::Good),
            ("bert:über:geheim", Verdict::Bad),
            ("nobody:über:geheim", Verdict::Bad),
            ("nobody:über:geheim", Verdict::Bad),
            (":", Verdict::Bad),
            ("anna", Verdict::Bad),
            ("anna:a\0b", Verdict::Bad),
        ] {
            let verdict = authenticator.check(&users, Some(&basic(text)), Source::Unix).await;
            assert_eq!(verdict, expected, "{text:?}");
        }
        for header in ["", "Basic", "Basic !!!", "Bearer YTpi", "Basic  ", "Basic YW5uYQ=="] {
            let header = HeaderValue::from_str(header).unwrap();
            assert_eq!(authenticator.check(&users, Some(&header), Source::Unix).await, Verdict::Bad);
        }
        assert_eq!(authenticator.check(&users, None, Source::Unix).await, Verdict::Bad);
        assert!(authenticator.waiting.lock().is_empty());
    }

    #[tokio::test]
    async fn a_password_that_was_changed_is_forgotten() {
        let authenticator = Authenticator::new().unwrap();
        let header = basic("anna:old");
        let check = async |users: &Users| authenticator.check(users, Some(&header), Source::Unix).await;
        assert_eq!(check(&users(&[("anna", "old")])).await, Verdict::Good);
        assert_eq!(check(&users(&[("anna", "new")])).await, Verdict::Bad);
        assert_eq!(check(&Users::new(BTreeMap::new())).await, Verdict::Bad);
    }

    #[test]
    fn hashes() {
        for version in ["2a", "2b", "2y"] {
            let hash = bcrypt::hash_with_result("x", 4).unwrap().to_string().replacen("2b", version, 1);
            assert!(Users::is_hash(&hash), "{hash}");
        }
        for text in ["", "secret", "$2y$10$short", "$1$salt$hash", "$6$rounds=5$a$b"] {
            assert!(!Users::is_hash(text), "{text}");
        }
    }
}
