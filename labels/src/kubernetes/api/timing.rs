// SPDX-License-Identifier: Apache-2.0
//! How long to wait for what.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// All waiting times of the watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// For a connection and the handshake of TLS.
    pub connect: Duration,
    /// For the head of an answer. Servers let requests wait up to a minute when they have many.
    pub answer: Duration,
    /// Between two pieces of a list.
    pub piece: Duration,
    /// For one page of a list.
    pub page: Duration,
    /// Streaming lists: after the last object, for the mark that says so.
    pub mark: Duration,
    /// The same, after the first.
    pub stream: Duration,
    /// Between two events of a watch. Servers send bookmarks about once a minute.
    pub idle: Duration,
    /// A watch that has been accepted and breaks no sooner works.
    pub settle: Duration,
    /// What has worked for this long gets the full patience again.
    pub stable: Duration,
    /// A watch that ends earlier, and without an event, has not worked.
    pub brief: Duration,
    /// After failing for this long, the server may be another one, restored from a backup: list anew.
    pub outage: Duration,
    /// Not all nodes list at once then, but within this time.
    pub spread: Duration,
    /// Between the first two attempts; then twice as long each time.
    pub backoff: Duration,
    /// At most.
    pub backoff_max: Duration,
    /// At most, where people have to mend it first.
    pub refused_max: Duration,
    /// Tokens are read again after this time.
    pub credentials: Duration,
    /// The server is asked to end watches after this time, and up to as much again.
    pub watch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            piece: Duration::from_secs(30),
            page: Duration::from_secs(300),
            mark: Duration::from_secs(15),
            stream: Duration::from_secs(120),
            idle: Duration::from_secs(100),
            settle: Duration::from_secs(2),
            stable: Duration::from_secs(10),
            brief: Duration::from_secs(1),
            outage: Duration::from_secs(20),
            spread: Duration::from_secs(5),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            refused_max: Duration::from_secs(60),
            credentials: Duration::from_secs(50),
            watch: Duration::from_secs(300),
        }
    }
}

impl Timing {
    /// How long to wait after so many failures in a row: half of it at random.
    pub(super) fn backoff(&self, failures: u32, refused: bool) -> Duration {
        let max = if refused { self.refused_max } else { self.backoff_max };
        let full = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max);
        full / 2 + random(full / 2)
    }

    /// For how many seconds to ask for a watch.
    pub(super) fn watch_seconds(&self) -> u64 {
        (self.watch + random(self.watch)).as_secs().max(1)
    }
}

/// Evenly from nothing to `max`.
pub(super) fn random(max: Duration) -> Duration {
    // Each hasher has keys of its own, and the first come from the system.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    max.mul_f64(bits as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time() {
        let timing = Timing::default();
        let bounds = |failures, refused, full: u64| {
            for _ in 0..100 {
                let wait = timing.backoff(failures, refused);
                let full = Duration::from_millis(full);
                assert!(wait >= full / 2 && wait <= full, "{failures} {wait:?}");
            }
        };
        bounds(1, false, 500);
        bounds(2, false, 1_000);
        bounds(6, false, 16_000);
        bounds(7, false, 30_000);
        bounds(u32::MAX, false, 30_000);
        bounds(7, true, 32_000);
        bounds(8, true, 60_000);
    }

    #[test]
    fn no_two_nodes_wait_the_same() {
        let waits: std::collections::HashSet<_> = (0..100).map(|_| random(Duration::from_secs(5))).collect();
        assert!(waits.len() > 95);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(5)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(3)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(2)));
    }
}
