// SPDX-License-Identifier: Apache-2.0
//! What is served about packets that the kernel drops. Names and meanings are a contract: dashboards and alerts are built on them.

use std::fmt;

use flowgauge_probes::drops::Health;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use crate::source::{Family, FamilyKind};

const fn family(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    source: &'static str,
) -> Family {
    let kind = FamilyKind::Counter;
    Family { name, kind, unit: None, help, labels, edge: false, source, buckets: "" }
}

/// By whose they were.
pub static DROPPED: Family = family(
    "dropped_packets",
    &["namespace", "workload", "reason"],
    "Packets that the kernel dropped, by the owner of their socket, else of their network namespace, and by the kernel's name of the reason; owners and reasons beyond an eighth of --series.limit are added up as workload other without a reason.",
    "reason of the tracepoint kfree_skb, names from the kernel's BTF",
);
/// What is no loss.
pub static LEFT_OUT: Family = family(
    "dropped_packets_left_out",
    &["reason"],
    "Packets that went the way of dropped ones for reasons that are no loss, which dropped_packets does not include.",
    "reason of the tracepoint kfree_skb",
);

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] = &[&DROPPED, &LEFT_OUT];

/// Writes what was left out.
///
/// # Errors
/// What the encoder returns.
pub fn encode_left_out(encoder: &mut DescriptorEncoder<'_>, health: &Health) -> fmt::Result {
    let mut metric = LEFT_OUT.describe(encoder)?;
    for (reason, times) in &health.left_out {
        let labels = [(LEFT_OUT.labels[0], &**reason)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(times, None)?;
    }
    Ok(())
}
