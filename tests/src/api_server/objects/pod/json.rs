// SPDX-License-Identifier: Apache-2.0
//! A pod as the API shows it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Container, Part, Pod};
use crate::api_server::objects::{Object, ago, metadata, with_managed_fields};
use crate::api_server::resource::Resource;

impl Pod {
    fn image(&self, container: &Container) -> String {
        format!("registry.invalid/{}/{}:v1.27.3", self.namespace, container.name)
    }

    fn spec_of(&self, container: &Container) -> Value {
        let ports: Vec<Value> = container
            .ports
            .iter()
            .map(|port| {
                let mut entry =
                    json!({ "name": format!("p{port}"), "containerPort": port, "protocol": "TCP" });
                if self.host_network {
                    entry["hostPort"] = json!(port);
                }
                entry
            })
            .collect();
        let probe = |path: &str| {
            json!({
                "httpGet": { "path": path, "port": 8080, "scheme": "HTTP" }, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, "initialDelaySeconds": 5,
            })
        };
        let own = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
        let mut spec = json!({
            "name": container.name, "image": self.image(container), "imagePullPolicy": "IfNotPresent",
            "args": ["--config=/etc/app/config.yaml", "--log-format=json", "--shutdown-grace-period=25s"],
            "env": [
                own("POD_NAME", "metadata.name"), own("POD_NAMESPACE", "metadata.namespace"),
                own("POD_IP", "status.podIP"), { "name": "GOMAXPROCS", "value": "2" },
            ],
            "ports": ports,
            "resources": {
                "limits": { "memory": "512Mi" }, "requests": { "cpu": "250m", "memory": "256Mi" },
            },
            "volumeMounts": [
                { "name": "config", "mountPath": "/etc/app", "readOnly": true },
                {
                    "name": "kube-api-access-x7k2p", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                },
            ],
            "livenessProbe": probe("/healthz"), "readinessProbe": probe("/readyz"),
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        if container.part == Part::Sidecar {
            spec["restartPolicy"] = json!("Always");
        }
        spec
    }

    fn status_of(&self, container: &Container) -> Value {
        let running = !container.id.is_empty();
        let id = if running { format!("{}://{}", self.runtime, container.id) } else { String::new() };
        let over = json!({ "terminated": {
            "exitCode": 0, "reason": "Completed", "startedAt": ago(self.age), "finishedAt": ago(self.age),
            "containerID": id,
        } });
        let state = match container.part {
            _ if !running => json!({ "waiting": { "reason": "PodInitializing" } }),
            Part::Init => over,
            _ if self.finished() => over,
            _ => json!({ "running": { "startedAt": ago(self.age) } }),
        };
        let mut status = json!({
            "name": container.name, "state": state, "lastState": {}, "ready": running && !self.finished(),
            "restartCount": 0, "started": running, "image": self.image(container),
            "imageID": format!("registry.invalid/{}@sha256:{:0>64}", container.name, container.name.len()),
        });
        if running {
            status["containerID"] = json!(id);
        }
        status
    }

    fn finished(&self) -> bool {
        matches!(self.phase, "Succeeded" | "Failed")
    }

    fn each(&self, parts: &[Part], work: impl Fn(&Self, &Container) -> Value) -> Vec<Value> {
        let chosen = self.containers.iter().filter(|container| parts.contains(&container.part));
        chosen.map(|container| work(self, container)).collect()
    }

    fn spec(&self) -> Value {
        let tolerations = ["not-ready", "unreachable"].map(|taint| {
            json!({
                "key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            })
        });
        let mut spec = json!({
            "containers": self.each(&[Part::Main], Self::spec_of),
            "restartPolicy": if self.labels.contains_key("job-name") { "Never" } else { "Always" },
            "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "serviceAccountName": "default",
            "serviceAccount": "default", "securityContext": {}, "schedulerName": "default-scheduler",
            "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority", "priority": 0,
            "tolerations": tolerations,
            "volumes": [
                { "name": "config", "configMap": { "name": "app-config", "defaultMode": 420 } },
                { "name": "kube-api-access-x7k2p", "projected": { "defaultMode": 420, "sources": [
                    { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                    { "configMap": { "name": "kube-root-ca.crt",
                        "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                ] } },
            ],
        });
        for (key, parts) in [
            ("initContainers", &[Part::Init, Part::Sidecar][..]),
            ("ephemeralContainers", &[Part::Ephemeral]),
        ] {
            let containers = self.each(parts, Self::spec_of);
            if !containers.is_empty() {
                spec[key] = json!(containers);
            }
        }
        if !self.node.is_empty() {
            spec["nodeName"] = json!(self.node);
        }
        if self.host_network {
            spec["hostNetwork"] = json!(true);
        }
        spec
    }

    fn status(&self) -> Value {
        let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
        let conditions = kinds.map(|kind| {
            json!({
                "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": ago(self.age),
            })
        });
        let mut status = json!({
            "phase": self.phase, "qosClass": "Burstable",
            "conditions": conditions,
        });
        if let Some(first) = self.addresses.first() {
            status["podIP"] = json!(first);
            let all = self.addresses.iter().map(|address| json!({ "ip": address }));
            status["podIPs"] = all.collect();
            status["hostIP"] = json!("192.0.2.1");
            status["hostIPs"] = json!([{ "ip": "192.0.2.1" }]);
            status["startTime"] = json!(ago(self.age));
        }
        for (key, parts) in [
            ("containerStatuses", &[Part::Main][..]),
            ("initContainerStatuses", &[Part::Init, Part::Sidecar]),
            ("ephemeralContainerStatuses", &[Part::Ephemeral]),
        ] {
            let statuses = self.each(parts, Self::status_of);
            if !statuses.is_empty() {
                status[key] = json!(statuses);
            }
        }
        status
    }
}

impl From<Pod> for Object {
    fn from(pod: Pod) -> Self {
        let mut metadata = metadata(&pod.namespace, &pod.name, &pod.uid, &pod.labels, &pod.annotations);
        metadata["creationTimestamp"] = json!(ago(pod.age));
        if let Some(owner) = &pod.owner {
            metadata["ownerReferences"] = json!([owner.json()]);
            if let Some((generated, _)) = pod.name.rsplit_once('-').filter(|_| owner.kind != "StatefulSet") {
                metadata["generateName"] = json!(format!("{generated}-"));
            }
        }
        if pod.terminating {
            metadata["deletionTimestamp"] = json!(ago(Duration::ZERO));
            metadata["deletionGracePeriodSeconds"] = json!(30);
        }
        let json = json!({ "metadata": metadata, "spec": pod.spec(), "status": pod.status() });
        let managers: [(&str, &[&str]); 2] =
            [("kube-controller-manager", &["metadata", "spec"]), ("kubelet", &["status"])];
        with_managed_fields(Resource::Pods, json, &managers)
    }
}

impl From<&Pod> for Object {
    fn from(pod: &Pod) -> Self {
        pod.clone().into()
    }
}
