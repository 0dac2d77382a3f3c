// SPDX-License-Identifier: Apache-2.0
//! One copy of each text, however many objects have it.

use std::sync::Arc;

use crate::Set;
use crate::identity::{MAX_LABEL_BYTES, clean};

/// Fewer texts than this are never looked through for those that nobody has any more.
const PRUNE_AT_LEAST: usize = 4096;

/// The texts in use.
#[derive(Debug)]
pub(crate) struct Texts {
    known: Set<Arc<str>>,
    prune_at: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Texts { known: Set::default(), prune_at: PRUNE_AT_LEAST }
    }
}

impl Texts {
    /// The shared copy of `raw`, as it may stand in a label.
    pub fn share(&mut self, raw: &str) -> Arc<str> {
        if raw.len() > MAX_LABEL_BYTES || raw.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return self.share_clean(&clean(raw).unwrap_or_default());
        }
        self.share_clean(raw)
    }

    fn share_clean(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= self.prune_at {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.known.shrink_to(self.known.len() * 2);
            self.prune_at = PRUNE_AT_LEAST.max(self.known.len() * 2);
        }
        let text: Arc<str> = text.into();
        self.known.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shared_and_forgotten() {
        let mut texts = Texts::default();
        let kept = texts.share("kept");
        assert!(Arc::ptr_eq(&kept, &texts.share("kept")));
        for number in 0..PRUNE_AT_LEAST * 20 {
            texts.share(&format!("text-{number}"));
            assert!(texts.known.len() <= PRUNE_AT_LEAST);
        }
        assert!(Arc::ptr_eq(&kept, &texts.share("kept")));
        assert_eq!(&*texts.share("a\nb"), "a\u{fffd}b");
        assert_eq!(texts.share(&"x".repeat(1000)).len(), MAX_LABEL_BYTES);
    }
}
