// SPDX-License-Identifier: Apache-2.0
//! One pass for all the scrapes that wait for one.
//!
//! A scrape gets the first pass that *begins* after it arrived, so what it shows includes everything that happened
//! before it was asked for. While a pass runs, all who arrive wait together for the next: any number of scrapers make
//! at most one pass at a time and one more after it, and none waits longer than two passes.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::self_metrics::SelfMetrics;
use crate::source::MetricSource;

/// Runs the source's passes.
pub struct Passes {
    source: Arc<dyn MetricSource>,
    metrics: Arc<SelfMetrics>,
    state: Mutex<State>,
    ended: watch::Sender<Ended>,
}

#[derive(Default)]
struct State {
    /// Passes begun so far; the number of the latest.
    begun: u64,
    running: bool,
}

/// The latest pass that ended.
struct Ended {
    number: u64,
    result: Result<(), Arc<str>>,
}

impl Passes {
    /// Over this source.
    pub fn new(source: Arc<dyn MetricSource>, metrics: Arc<SelfMetrics>) -> Arc<Self> {
        let ended = watch::Sender::new(Ended { number: 0, result: Ok(()) });
        Arc::new(Self { source, metrics, state: Mutex::default(), ended })
    }

    /// Waits for a pass that began after this call, and says which it was.
    ///
    /// The pass goes on when the caller gives up waiting.
    ///
    /// # Errors
    /// Why that pass failed.
    pub async fn fresh(self: &Arc<Self>) -> Result<u64, Arc<str>> {
        let mut ended = self.ended.subscribe();
        let wanted = self.state.lock().begun + 1;
        loop {
            {
                let latest = ended.borrow_and_update();
                if latest.number >= wanted {
                    return latest.result.clone().map(|()| latest.number);
                }
            }
            self.begin_unless_running();
            if ended.changed().await.is_err() {
                return Err("the exporter is ending".into());
            }
        }
    }

    fn begin_unless_running(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.running {
            return;
        }
        state.running = true;
        state.begun += 1;
        let number = state.begun;
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let source = Arc::clone(&this.source);
            let begun = Instant::now();
            let result = match tokio::task::spawn_blocking(move || source.refresh()).await {
                Ok(result) => result.map_err(|error| format!("{error:#}").into()),
                Err(_) => Err("the pass panicked".into()),
            };
            this.metrics.pass(begun.elapsed());
            // Both under the lock, so that nobody begins another pass before this one's end is told.
            let mut state = this.state.lock();
            state.running = false;
            this.ended.send_replace(Ended { number, result });
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Passes;
    use crate::web::fake::Fake;

    fn passes(fake: &Arc<Fake>) -> Arc<Passes> {
        Passes::new(Arc::clone(fake) as _, Arc::default())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn scrapes_that_arrive_together_share_a_pass() {
        let fake = Fake::taking(Duration::from_millis(500));
        let passes = passes(&fake);
        let scrapes: Vec<_> = (0..50)
            .map(|_| {
                let passes = Arc::clone(&passes);
                tokio::spawn(async move { passes.fresh().await })
            })
            .collect();
        for scrape in scrapes {
            assert!(scrape.await.unwrap().is_ok());
        }
        let run = fake.passes();
        assert!((1..=2).contains(&run), "{run} passes for 50 scrapes");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_scrape_never_gets_a_pass_that_began_before_it_arrived() {
        let fake = Fake::taking(Duration::from_millis(500));
        let passes = passes(&fake);
        let first = tokio::spawn({
            let passes = Arc::clone(&passes);
            async move { passes.fresh().await }
        });
        while fake.begun() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        passes.fresh().await.unwrap();
        assert_eq!(fake.passes(), 2);
        first.await.unwrap().unwrap();
        assert_eq!(fake.passes(), 2);
    }

    #[tokio::test]
    async fn a_pass_outlives_the_scrape_that_began_it() {
        let fake = Fake::taking(Duration::from_millis(500));
        let passes = passes(&fake);
        assert!(tokio::time::timeout(Duration::from_millis(5), passes.fresh()).await.is_err());
        passes.fresh().await.unwrap();
        assert_eq!(fake.passes(), 2);
    }

    #[tokio::test]
    async fn failures_and_panics_are_told_and_pass() {
        let fake = Fake::taking(Duration::ZERO);
        let passes = passes(&fake);
        fake.fail("map gone");
        assert_eq!(passes.fresh().await, Err("reading sockets: map gone".into()));
        fake.panic();
        assert_eq!(passes.fresh().await, Err("the pass panicked".into()));
        fake.mend();
        assert_eq!(passes.fresh().await, Ok(3));
    }
}
