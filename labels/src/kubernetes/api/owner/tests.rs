// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use super::*;

/// The workload of a pod `the-pod` on `node-1`, created on 2024-03-09 at 16:00, with this in its metadata.
fn of(more: Value) -> String {
    let mut metadata = json!({ "name": "the-pod", "creationTimestamp": "2024-03-09T16:00:00Z" });
    for (key, value) in more.as_object().unwrap() {
        metadata[key] = value.clone();
    }
    workload(&serde_json::from_value(metadata).unwrap(), "node-1")
}

fn owned(kind: &str, name: &str) -> String {
    of(json!({ "ownerReferences": [{ "kind": kind, "name": name, "controller": true }] }))
}

fn replica_set(name: &str, labels: Value) -> String {
    let owner = json!([{ "kind": "ReplicaSet", "name": name, "controller": true }]);
    of(json!({ "ownerReferences": owner, "labels": labels }))
}

#[test]
fn a_replica_set_with_the_hash_is_of_a_deployment() {
    let labels = json!({ "app": "x", "pod-template-hash": "6b9c7f5d4" });
    assert_eq!(replica_set("web-front-6b9c7f5d4", labels.clone()), "web-front");
    assert_eq!(replica_set("web-front-6b9c7f5d5", labels.clone()), "web-front-6b9c7f5d5");
    assert_eq!(replica_set("-6b9c7f5d4", labels.clone()), "-6b9c7f5d4");
    assert_eq!(replica_set("6b9c7f5d4", labels.clone()), "6b9c7f5d4");
    assert_eq!(replica_set("web6b9c7f5d4", labels), "web6b9c7f5d4");
}

#[test]
fn a_replica_set_of_an_argo_rollout() {
    let labels = json!({ "rollouts-pod-template-hash": "7d4c" });
    assert_eq!(replica_set("checkout-7d4c", labels), "checkout");
}

#[test]
fn a_replica_set_that_somebody_made() {
    assert_eq!(replica_set("web-6b9c7f5d4", json!({ "app": "web" })), "web-6b9c7f5d4");
    assert_eq!(replica_set("web-6b9c7f5d4", json!(null)), "web-6b9c7f5d4");
    assert_eq!(replica_set("web-", json!({ "pod-template-hash": "" })), "web-");
}

#[test]
fn jobs_of_a_cron_job() {
    // 2024-03-09T16:00 is 1,710,000,000 seconds or 28,500,000 minutes after the epoch.
    assert_eq!(owned("Job", "backup-28500000"), "backup");
    assert_eq!(owned("Job", "backup-1710000000"), "backup");
    assert_eq!(owned("Job", "nightly-report-28499940"), "nightly-report");
}

#[test]
fn jobs_that_somebody_made() {
    assert_eq!(owned("Job", "migrate"), "migrate");
    assert_eq!(owned("Job", "migrate-42"), "migrate-42");
    assert_eq!(owned("Job", "migrate-20240309"), "migrate-20240309");
    assert_eq!(owned("Job", "migrate-2024030916"), "migrate-2024030916");
    assert_eq!(owned("Job", "backup-manual-x7k2p"), "backup-manual-x7k2p");
    assert_eq!(owned("Job", "-28500000"), "-28500000");
    assert_eq!(owned("Job", "backup-+8500000"), "backup-+8500000");
    // Scheduled more than a day after, or more than 30 days before the pod was made.
    assert_eq!(owned("Job", "backup-28501441"), "backup-28501441");
    assert_eq!(owned("Job", "backup-28456799"), "backup-28456799");
    assert_eq!(owned("Job", "backup-28501440"), "backup");
    assert_eq!(owned("Job", "backup-28456800"), "backup");
}

#[test]
fn a_job_of_a_pod_without_a_creation_time() {
    let owner = json!([{ "kind": "Job", "name": "backup-28500000", "controller": true }]);
    for created in [json!(null), json!("yesterday"), json!("")] {
        let more = json!({ "ownerReferences": owner, "creationTimestamp": created });
        assert_eq!(of(more), "backup-28500000");
    }
}

#[test]
fn every_other_controller_by_its_name() {
    assert_eq!(owned("StatefulSet", "postgres"), "postgres");
    assert_eq!(owned("DaemonSet", "cni-28500000"), "cni-28500000");
    assert_eq!(owned("ReplicationController", "old"), "old");
    assert_eq!(owned("SparkApplication", "etl-28500000"), "etl-28500000");
}

#[test]
fn static_pods_as_their_manifest_names_them() {
    let owner = json!([{ "kind": "Node", "name": "node-1", "controller": true }]);
    let named = |name| of(json!({ "name": name, "ownerReferences": owner }));
    assert_eq!(named("kube-apiserver-node-1"), "kube-apiserver");
    assert_eq!(named("kube-apiserver-node-2"), "kube-apiserver-node-2");
    assert_eq!(named("node-1"), "node-1");
}

#[test]
fn bare_pods_by_their_own_name() {
    assert_eq!(of(json!({})), "the-pod");
    assert_eq!(of(json!({ "ownerReferences": null })), "the-pod");
    assert_eq!(of(json!({ "ownerReferences": [] })), "the-pod");
    assert_eq!(owned("StatefulSet", ""), "the-pod");
    // An owner that is no controller only ties its life to the pod's.
    let owner =
        json!([{ "kind": "ReplicaSet", "name": "x" }, { "kind": "Job", "name": "y", "controller": false }]);
    assert_eq!(of(json!({ "ownerReferences": owner })), "the-pod");
}

#[test]
fn the_controller_among_several_owners() {
    let owners = json!([
        { "kind": "ConfigMap", "name": "first" },
        { "kind": "StatefulSet", "name": "db", "controller": true },
        { "kind": "Job", "name": "last", "controller": null },
    ]);
    assert_eq!(of(json!({ "ownerReferences": owners })), "db");
}
