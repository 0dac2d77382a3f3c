// SPDX-License-Identifier: Apache-2.0
//! Whose a pod is, as far as the pod itself tells: no ReplicaSet and no Job has to be asked for.

use jiff::{SignedDuration, Timestamp};

use super::wire::{Metadata, OwnerReference};

/// The workload of a pod: the Deployment (or Argo Rollout) behind its ReplicaSet, the CronJob behind its Job, the pod as
/// its manifest names it if the kubelet runs it without the API's order, any other controller by its name, and for pods
/// without one the pod's name.
///
/// A ReplicaSet's name is `<deployment>-<hash>`, and the pod's label has the hash: what does not fit was not made by a
/// Deployment. A Job's name is `<cronjob>-<scheduled time>`: what cannot be a time near the pod's creation is part of
/// the name that somebody gave.
pub(super) fn workload(pod: &Metadata, node: &str) -> String {
    let Some(owner) = controller(pod) else { return pod.name().to_owned() };
    let name = owner.name.as_deref().unwrap_or_default();
    let workload = match owner.kind.as_deref().unwrap_or_default() {
        "ReplicaSet" => replica_set_owner(pod, name),
        "Job" => job_owner(name, pod.creation_timestamp.as_deref()),
        "Node" => strip_part(pod.name(), node),
        _ => None,
    };
    match (workload, owner.kind.as_deref()) {
        (Some(workload), _) => workload.to_owned(),
        (None, Some("Node")) => pod.name().to_owned(),
        (None, _) if name.is_empty() => pod.name().to_owned(),
        (None, _) => name.to_owned(),
    }
}

/// At most one owner of an object is its controller.
fn controller(pod: &Metadata) -> Option<&OwnerReference> {
    pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn replica_set_owner<'a>(pod: &Metadata, name: &'a str) -> Option<&'a str> {
    let labels = pod.labels.as_ref()?;
    let hashes = [&labels.pod_template_hash, &labels.rollouts_pod_template_hash];
    hashes.into_iter().flatten().find_map(|hash| strip_part(name, hash))
}

fn job_owner<'a>(name: &'a str, created: Option<&str>) -> Option<&'a str> {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

    let (owner, digits) = name.rsplit_once('-')?;
    if owner.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = match digits.len() {
        8 => digits.parse::<i64>().ok()? * 60,
        10 => digits.parse().ok()?,
        _ => return None,
    };
    let scheduled = Timestamp::from_second(seconds).ok()?;
    let age = created?.parse::<Timestamp>().ok()?.duration_since(scheduled);
    (-DAY..=MONTH).contains(&age).then_some(owner)
}

/// `name` without `-part` at its end.
fn strip_part<'a>(name: &'a str, part: &str) -> Option<&'a str> {
    let stem = name.strip_suffix(part)?.strip_suffix('-')?;
    (!part.is_empty() && !stem.is_empty()).then_some(stem)
}

#[cfg(test)]
mod tests;
