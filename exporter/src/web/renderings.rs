// SPDX-License-Identifier: Apache-2.0
//! One rendering for all the scrapes of a pass that want it in the same form.
//!
//! Scrapes that share a pass would be told the same but for the exporter's own counters; so they share the bytes as well,
//! and a crowd of them costs no more time and memory than one. Nothing is kept once the last of them is answered.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::exposition::{Coding, Format};

/// The pass, and the form in which it is told.
type Key = (u64, Format, Coding);

/// Renderings that are being made or sent.
#[derive(Default)]
pub struct Renderings(Mutex<HashMap<Key, Weak<OnceCell<Bytes>>>>);

impl Renderings {
    /// That of a pass in this form, made or still to be made.
    pub fn of(&self, pass: u64, format: Format, coding: Coding) -> Arc<OnceCell<Bytes>> {
        let mut renderings = self.0.lock();
        renderings.retain(|_, rendering| rendering.strong_count() > 0);
        let rendering = renderings.entry((pass, format, coding)).or_default();
        rendering.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *rendering = Arc::downgrade(&new);
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Coding, Format, Renderings};

    #[tokio::test]
    async fn shared_within_a_pass_and_forgotten_after() {
        let renderings = Renderings::default();
        let first = renderings.of(1, Format::Classic, Coding::Gzip);
        let second = renderings.of(1, Format::Classic, Coding::Gzip);
        first.get_or_init(async || Bytes::from_static(b"x")).await;
        assert_eq!(second.get(), Some(&Bytes::from_static(b"x")));
        for other in [(2, Format::Classic, Coding::Gzip), (1, Format::OpenMetrics, Coding::Gzip)] {
            assert!(renderings.of(other.0, other.1, other.2).get().is_none());
        }
        drop((first, second));
        assert!(renderings.of(1, Format::Classic, Coding::Gzip).get().is_none());
        assert_eq!(renderings.0.lock().len(), 1);
    }
}
