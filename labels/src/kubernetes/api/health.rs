// SPDX-License-Identifier: Apache-2.0
//! Whether a watch works: what is told and logged, and how long to wait before the next attempt.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::failure::Failure;
use super::timing::Timing;

/// How a watch has fared.
pub(super) struct Health {
    /// For the log.
    name: &'static str,
    timing: Timing,
    state: State,
    /// In a row, not counting those before it has worked for a while.
    failures: u32,
    /// Since when it fails; none while it works.
    failing_since: Option<Instant>,
    working_since: Option<Instant>,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Has not worked yet.
    New,
    Up,
    /// With the class of the failure that was logged.
    Down(u16),
}

/// What follows from a failure.
pub(super) struct Consequence {
    /// To be told.
    pub down: Option<String>,
    pub wait: Duration,
}

impl Health {
    pub(super) fn new(name: &'static str, timing: Timing) -> Self {
        Health { name, timing, state: State::New, failures: 0, failing_since: None, working_since: None }
    }

    pub(super) fn is_working(&self) -> bool {
        self.failing_since.is_none() && self.state == State::Up
    }

    /// It has failed for so long that the server may be another one.
    pub(super) fn in_outage(&self) -> bool {
        self.failing_since.is_some_and(|since| since.elapsed() > self.timing.outage)
    }

    /// It works. True if that is to be told.
    pub(super) fn works(&mut self) -> bool {
        self.failing_since = None;
        self.working_since.get_or_insert_with(Instant::now);
        if self.state == State::Up {
            return false;
        }
        info!(watch = self.name, "the Kubernetes API gives names");
        self.state = State::Up;
        true
    }

    pub(super) fn failed(&mut self, failure: &Failure, text: String) -> Consequence {
        if self.working_since.take().is_some_and(|since| since.elapsed() >= self.timing.stable) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert_with(Instant::now);
        let wait = self.wait(failure);
        if self.state == State::Up && failure.is_routine() && self.failures == 1 {
            debug!(watch = self.name, "{text}");
            return Consequence { down: None, wait };
        }
        let class = failure.class();
        if self.state == State::Down(class) {
            debug!(watch = self.name, "{text}");
        } else {
            warn!(watch = self.name, "{text}");
            self.state = State::Down(class);
        }
        Consequence { down: Some(text), wait }
    }

    fn wait(&self, failure: &Failure) -> Duration {
        let wait = self.timing.backoff(self.failures, matches!(failure.class(), 401 | 403 | 404));
        match failure {
            // The list is what mends it.
            Failure::Gone if self.failures == 1 => Duration::ZERO,
            Failure::Refused { retry_after: Some(asked), .. } => {
                wait.max((*asked).min(self.timing.refused_max))
            }
            _ => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::new("pods", Timing { stable: Duration::ZERO, ..Timing::default() })
    }

    fn down(health: &mut Health, failure: &Failure) -> bool {
        health.failed(failure, "text".to_owned()).down.is_some()
    }

    fn unreachable() -> Failure {
        Failure::Unreachable("refused".to_owned())
    }

    #[test]
    fn a_routine_failure_is_told_when_it_comes_again() {
        let broken = Failure::Broken("reset".to_owned());
        let mut health = health();
        assert!(down(&mut health, &broken));
        assert!(health.works());
        assert!(!health.works());
        assert!(!down(&mut health, &broken));
        assert!(down(&mut health, &broken));
        assert!(health.works());
        assert!(down(&mut health, &unreachable()));
    }

    #[test]
    fn the_wait_starts_over_after_working_for_a_while() {
        let mut health = health();
        let wait = |health: &mut Health| health.failed(&unreachable(), String::new()).wait;
        for _ in 0..10 {
            wait(&mut health);
        }
        assert!(wait(&mut health) >= Duration::from_secs(15));
        health.works();
        assert!(wait(&mut health) <= Duration::from_millis(500));
        health.timing.stable = Duration::from_secs(10);
        for _ in 0..10 {
            wait(&mut health);
        }
        health.works();
        assert!(wait(&mut health) >= Duration::from_secs(15));
    }

    #[test]
    fn the_server_may_ask_for_more_patience() {
        let mut health = health();
        let mut wait = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            health
                .failed(&Failure::Refused { code: 429, message: String::new(), retry_after }, String::new())
                .wait
        };
        assert_eq!(wait(20), Duration::from_secs(20));
        assert_eq!(wait(u64::MAX), Duration::from_secs(60));
    }

    #[test]
    fn the_first_gone_is_mended_at_once() {
        let mut health = health();
        assert_eq!(health.failed(&Failure::Gone, String::new()).wait, Duration::ZERO);
        assert!(health.failed(&Failure::Gone, String::new()).wait > Duration::ZERO);
    }

    #[test]
    fn an_outage_lasts_until_it_works() {
        let mut health = health();
        down(&mut health, &unreachable());
        assert!(!health.in_outage());
        health.timing.outage = Duration::ZERO;
        std::thread::sleep(Duration::from_millis(1));
        assert!(health.in_outage());
        health.works();
        assert!(!health.in_outage());
    }
}
