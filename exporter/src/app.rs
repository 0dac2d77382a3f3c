// SPDX-License-Identifier: Apache-2.0
//! Where the collectors and label sources are put together.

use std::sync::Arc;

use caps::Capability;

use crate::flags::Flags;
use crate::source::{ComponentStatus, MetricSource};

/// What the threads that serve HTTP keep; the threads that a source starts keep what they need themselves.
pub const SERVING_CAPABILITIES: &[Capability] = &[];

/// Starts what the flags ask for. Runs once, with every privilege that the program was given, before it serves.
///
/// # Errors
/// When nothing can run at all; a part that cannot start is told by its [`ComponentStatus`] instead.
pub fn build_source(_flags: &Flags) -> anyhow::Result<Arc<dyn MetricSource>> {
    Ok(Arc::new(NoCollectors))
}

/// A program with no collector built in: its own metrics only.
struct NoCollectors;

impl MetricSource for NoCollectors {
    fn refresh(&self) -> Result<(), anyhow::Error> {
        Ok(())
    }

    fn encode(&self, _encoder: prometheus_client::encoding::DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }

    fn status(&self) -> Vec<ComponentStatus> {
        Vec::new()
    }

    fn ready(&self) -> bool {
        true
    }
}
