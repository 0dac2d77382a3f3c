// SPDX-License-Identifier: Apache-2.0
//! Keeps a repeated failure from filling the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const INTERVAL: Duration = Duration::from_secs(60);

/// Lets one event a minute be told, and counts those in between.
#[derive(Default)]
pub struct Quiet(Mutex<Option<Silence>>);

struct Silence {
    since: Instant,
    silenced: u64,
}

impl Quiet {
    /// Whether to tell this one; if so, how many were not told since the last.
    pub fn speak(&self) -> Option<u64> {
        self.speak_at(Instant::now())
    }

    /// Whether it was ever spoken since the last `reset`; forgets it.
    pub fn reset(&self) -> bool {
        self.0.lock().take().is_some()
    }

    fn speak_at(&self, now: Instant) -> Option<u64> {
        let mut silence = self.0.lock();
        match &mut *silence {
            Some(silence) if now.duration_since(silence.since) < INTERVAL => {
                silence.silenced += 1;
                None
            }
            silence => {
                let silenced = silence.as_ref().map_or(0, |silence| silence.silenced);
                *silence = Some(Silence { since: now, silenced: 0 });
                Some(silenced)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Quiet};

    #[test]
    fn one_a_minute() {
        let quiet = Quiet::default();
        let start = Instant::now();
        let spoken: Vec<_> =
            [0, 1, 59, 60, 61, 300].map(|second| quiet.speak_at(start + Duration::from_secs(second))).into();
        assert_eq!(spoken, [Some(0), None, None, Some(2), None, Some(1)]);
        assert!(quiet.reset());
        assert!(!quiet.reset());
        assert_eq!(quiet.speak_at(start), Some(0));
    }
}
