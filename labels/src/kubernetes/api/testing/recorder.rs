// SPDX-License-Identifier: Apache-2.0
//! What a watch told, as it told it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::kubernetes::api::decode::Kind;
use crate::kubernetes::objects::Watched;

/// Writes down what it is told: `begin`, `+name`, `end` of lists, `=name`, `-name` for changes, `up`, `down: …`.
#[derive(Default)]
pub(in crate::kubernetes::api) struct Recorder {
    told: Mutex<Vec<String>>,
}

impl Recorder {
    pub(in crate::kubernetes::api) fn told(&self) -> Vec<String> {
        self.told.lock().clone()
    }

    pub(in crate::kubernetes::api) fn count(&self, prefix: &str) -> usize {
        self.told.lock().iter().filter(|line| line.starts_with(prefix)).count()
    }

    /// Waits until `done`, for some seconds.
    pub(in crate::kubernetes::api) async fn wait(&self, what: &str, done: impl Fn(&[String]) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done(&self.told.lock()) {
            assert!(Instant::now() < end, "{what} did not happen: {:?}", self.told());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until it was told exactly this.
    pub(in crate::kubernetes::api) async fn told_exactly(&self, lines: &[&str]) {
        self.wait(&format!("{lines:?}"), |told| told.len() >= lines.len()).await;
        assert_eq!(self.told(), lines);
    }

    fn tell(&self, line: String) {
        self.told.lock().push(line);
    }
}

impl<T: Kind> Watched<T> for Recorder {
    fn begin_list(&self) {
        self.tell("begin".to_owned());
    }

    fn listed(&self, object: T) {
        self.tell(format!("+{}", object.key().1));
    }

    fn end_list(&self) {
        self.tell("end".to_owned());
    }

    fn applied(&self, object: T) {
        self.tell(format!("={}", object.key().1));
    }

    fn deleted(&self, object: T) {
        self.tell(format!("-{}", object.key().1));
    }

    fn down(&self, error: String) {
        self.tell(format!("down: {error}"));
    }

    fn up(&self) {
        self.tell("up".to_owned());
    }
}
