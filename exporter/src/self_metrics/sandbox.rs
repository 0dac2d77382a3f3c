// SPDX-License-Identifier: Apache-2.0
//! Whether the threads are confined.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::source::{Family, FamilyKind};

/// In the order they are exposed.
pub static FAMILIES: &[&Family] = &[CONFINED];

const CONFINED: &Family = &Family {
    name: "sandbox_active",
    kind: FamilyKind::Gauge,
    unit: None,
    help: "Whether all threads are confined by capabilities, by Landlock (files and ports), by seccomp (system calls): 1, or 0 when it is switched off, the kernel has none or a thread cannot work behind it; the landing page tells which.",
    labels: &["part"],
    edge: false,
    source: "The kernel's answers to prctl, landlock_restrict_self and seccomp.",
    buckets: "",
};

const PARTS: [&str; 3] = ["capabilities", "landlock", "seccomp"];

/// One for the whole program.
#[derive(Debug, Default)]
pub struct SandboxMetrics {
    up: [AtomicBool; PARTS.len()],
}

impl SandboxMetrics {
    /// By its place among capabilities, landlock, seccomp.
    pub fn set(&self, part: usize, up: bool) {
        if let Some(part) = self.up.get(part) {
            part.store(up, Relaxed);
        }
    }

    /// Writes [`FAMILIES`].
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut confined = CONFINED.describe(encoder)?;
        for (part, up) in PARTS.iter().zip(&self.up) {
            ConstGauge::new(i64::from(up.load(Relaxed)))
                .encode(confined.encode_family(&[("part", *part)])?)?;
        }
        Ok(())
    }
}
