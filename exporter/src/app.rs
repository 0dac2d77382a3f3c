// SPDX-License-Identifier: Apache-2.0
//! Where the collectors and label sources are put together.

use std::path::Path;
use std::sync::Arc;

use caps::Capability;

use crate::docs::Group;
use crate::flags::Flags;
use crate::source::{ComponentStatus, MetricSource};

/// The families of the source, for `docs/metrics.md`, in its order.
pub const FAMILY_GROUPS: &[Group] = &[];

/// What tells whether a collector would load here, by the name in its flag.
pub const COLLECTOR_CHECKS: &[(&str, CollectorCheck)] = &[];

/// Says what would be observed and how, or why nothing can be.
pub type CollectorCheck = fn() -> Result<String, String>;

/// What the threads that serve HTTP keep; the threads that a source starts keep what they need themselves.
pub const SERVING_CAPABILITIES: &[Capability] = &[];

/// Starts what the flags ask for. Runs once, with every privilege that the program was given, before it serves.
///
/// # Errors
/// When nothing can run at all; a part that cannot start is told by its [`ComponentStatus`] instead.
pub fn build_source(_flags: &Flags) -> anyhow::Result<Arc<dyn MetricSource>> {
    Ok(Arc::new(NoCollectors))
}

/// Says what the names file holds, without using it.
///
/// # Errors
/// Why it cannot be used.
pub fn check_names_file(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("{} can be read, {} bytes", path.display(), bytes.len()))
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
