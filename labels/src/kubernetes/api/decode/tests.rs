// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use super::*;

fn read<T: Kind>(object: &Value) -> T {
    T::slim(serde_json::from_str(&object.to_string()).unwrap())
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-6b9c7f5d4-x7k2p", "namespace": "shop", "uid": "u-1", "resourceVersion": "12",
            "generateName": "web-6b9c7f5d4-", "creationTimestamp": "2024-03-09T16:00:00Z",
            "labels": { "app": "web", "pod-template-hash": "6b9c7f5d4" },
            "annotations": { "a": "b", "kubernetes.io/config.hash": "c0ffee" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6b9c7f5d4",
                "uid": "u-2", "controller": true, "blockOwnerDeletion": true }],
            "managedFields": [{ "manager": "x", "fieldsV1": { "f:metadata": { "f:labels": {} } } }],
        },
        "spec": {
            "nodeName": "node-1", "restartPolicy": "Always", "hostNetwork": true,
            "initContainers": [
                { "name": "setup", "ports": [{ "containerPort": 1 }] },
                { "name": "mesh", "restartPolicy": "Always", "ports": [{ "containerPort": 15001 }] },
            ],
            "containers": [
                { "name": "web", "ports": [
                    { "containerPort": 8080, "name": "http", "protocol": "TCP", "hostPort": 8080 },
                    { "containerPort": 53, "protocol": "UDP" },
                    { "containerPort": 80 }, { "containerPort": 8080 }, { "containerPort": 70000 }, {},
                ] },
                { "name": "log", "ports": null },
            ],
            "ephemeralContainers": [{ "name": "debugger-1", "targetContainerName": "web" }],
        },
        "status": {
            "phase": "Running", "podIP": "10.1.0.7", "podIPs": [{ "ip": "10.1.0.7" }, { "ip": "fd00::7" }],
            "containerStatuses": [
                { "name": "log", "containerID": "containerd://bbb", "state": { "running": {} } },
                { "name": "web", "containerID": "cri-o://aaa" },
            ],
            "initContainerStatuses": [{ "name": "setup", "containerID": "ccc" }, { "name": "mesh" }],
            "ephemeralContainerStatuses": [{ "name": "debugger-1", "containerID": "docker://ddd" }],
        },
    })
}

#[test]
fn a_pod_with_all_there_is() {
    let container =
        |name: &str, id: &str, lasting| Container { name: name.to_owned(), id: id.to_owned(), lasting };
    let wanted = Pod {
        uid: "u-1".to_owned(),
        namespace: "shop".to_owned(),
        name: "web-6b9c7f5d4-x7k2p".to_owned(),
        config_hash: Some("c0ffee".to_owned()),
        created: 1_710_000_000,
        deleting: false,
        workload: "web".to_owned(),
        node: "node-1".to_owned(),
        host_network: true,
        ips: ips(&["10.1.0.7", "fd00::7"]),
        finished: false,
        host_ports: vec![80, 8080, 15001],
        containers: vec![
            container("web", "aaa", true),
            container("log", "bbb", true),
            container("setup", "ccc", false),
            container("mesh", "", true),
            container("debugger-1", "ddd", false),
        ],
    };
    assert_eq!(read::<Pod>(&pod()), wanted);
}

#[test]
fn ports_of_pods_in_their_own_network_do_not_matter() {
    let mut object = pod();
    object["spec"]["hostNetwork"] = json!(false);
    assert_eq!(read::<Pod>(&object).host_ports, [0u16; 0]);
    object["spec"]["hostNetwork"] = Value::Null;
    assert!(!read::<Pod>(&object).host_network);
}

#[test]
fn ports_that_are_probed() {
    let mut object = pod();
    object["spec"]["initContainers"] = json!([
        { "name": "setup", "livenessProbe": { "grpc": { "port": 1 } } },
        { "name": "mesh", "restartPolicy": "Always", "startupProbe": { "httpGet": { "port": 15021 } } },
    ]);
    object["spec"]["containers"] = json!([
        { "name": "kube-apiserver",
            "livenessProbe": { "httpGet": { "host": "10.1.0.7", "path": "/livez", "port": 6443, "scheme": "HTTPS" } },
            "readinessProbe": { "tcpSocket": { "port": 2381, "host": "127.0.0.1" }, "periodSeconds": 1 },
            "startupProbe": { "grpc": { "port": 9000, "service": null } } },
        { "name": "named", "livenessProbe": { "httpGet": { "port": "http" } }, "readinessProbe": null,
            "startupProbe": { "exec": { "command": ["true"] } } },
        { "name": "odd", "livenessProbe": { "httpGet": { "port": 70000 }, "tcpSocket": { "port": [1, {}] },
            "grpc": { "port": null } }, "readinessProbe": { "tcpSocket": { "port": 443, "host": "192.0.2.9" } } },
    ]);
    assert_eq!(read::<Pod>(&object).host_ports, [2381, 6443, 9000, 15021]);
    object["spec"]["hostNetwork"] = json!(false);
    assert_eq!(read::<Pod>(&object).host_ports, [0u16; 0]);
}

#[test]
fn addresses_of_pods() {
    let mut object = pod();
    object["status"]["podIPs"] = Value::Null;
    assert_eq!(read::<Pod>(&object).ips, ips(&["10.1.0.7"]));
    object["status"]["podIPs"] = json!([{ "ip": "nonsense" }, {}, { "ip": "10.1.0.8" }]);
    assert_eq!(read::<Pod>(&object).ips, ips(&["10.1.0.8"]));
    object["status"] = json!({ "phase": "Pending", "podIP": "" });
    assert_eq!(read::<Pod>(&object).ips, ips(&[]));
}

#[test]
fn finished_pods() {
    let mut object = pod();
    for (phase, finished) in [("Succeeded", true), ("Failed", true), ("Pending", false), ("Unknown", false)] {
        object["status"]["phase"] = json!(phase);
        assert_eq!(read::<Pod>(&object).finished, finished, "{phase}");
    }
}

#[test]
fn when_pods_were_made_and_that_they_are_about_to_go() {
    let mut object = pod();
    object["metadata"]["deletionTimestamp"] = json!("2024-03-09T17:00:00Z");
    assert!(read::<Pod>(&object).deleting);
    for (time, created) in [("1970-01-01T00:01:00Z", 60), ("1970-01-01T01:01:00+01:00", 60), ("now", 0)] {
        object["metadata"]["creationTimestamp"] = json!(time);
        assert_eq!(read::<Pod>(&object).created, created, "{time}");
    }
}

#[test]
fn what_is_null_or_not_there_is_nothing() {
    let bare = Pod { name: "p".to_owned(), workload: "p".to_owned(), ..Pod::default() };
    assert_eq!(read::<Pod>(&json!({ "metadata": { "name": "p" } })), bare);
    let nulls = json!({
        "metadata": { "name": "p", "labels": null, "annotations": null, "uid": null, "creationTimestamp": null },
        "spec": { "containers": null, "nodeName": null }, "status": { "containerStatuses": null, "phase": null },
    });
    assert_eq!(read::<Pod>(&nulls), bare);
    assert_eq!(read::<Service>(&json!({ "spec": { "ports": null }, "status": {} })), Service::default());
    let everywhere = EndpointSlice { all_ports: true, ..EndpointSlice::default() };
    assert_eq!(read::<EndpointSlice>(&json!({ "endpoints": null, "ports": null })), everywhere);
    assert_eq!(read::<Node>(&json!({ "spec": null, "status": { "addresses": null } })), Node::default());
}

#[test]
fn a_service_with_all_there_is() {
    let object = json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.2.0.1", "clusterIPs": ["10.2.0.1", "fd01::1"],
            "externalIPs": ["192.0.2.1", "192.0.2.9"],
            "ports": [
                { "name": "http", "port": 80, "targetPort": "http", "nodePort": 30080, "protocol": "TCP" },
                { "name": "dns", "port": 53, "protocol": "UDP" },
                { "port": 443 }, { "port": 0 }, { "port": -1 },
            ],
        },
        "status": { "loadBalancer": { "ingress": [
            { "hostname": "lb.example" }, { "ip": "192.0.2.9", "ipMode": "VIP" }, { "ip": "192.0.2.7" },
        ] } },
    });
    let wanted = Service {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        cluster_ips: ips(&["10.2.0.1", "fd01::1"]),
        external_ips: ips(&["192.0.2.1", "192.0.2.7", "192.0.2.9"]),
        ports: vec![
            ServicePort { port: 80, node_port: Some(30080) },
            ServicePort { port: 443, node_port: None },
        ],
        external_name: String::new(),
    };
    assert_eq!(read::<Service>(&object), wanted);
}

#[test]
fn services_without_an_address_of_their_own() {
    let of = |spec: Value| read::<Service>(&json!({ "metadata": { "name": "s" }, "spec": spec }));
    assert_eq!(of(json!({ "clusterIP": "None", "clusterIPs": ["None"] })).cluster_ips, ips(&[]));
    assert_eq!(of(json!({ "clusterIP": "10.2.0.1" })).cluster_ips, ips(&["10.2.0.1"]));
    let alias = of(json!({ "type": "ExternalName", "externalName": "X.example.", "clusterIP": "10.2.0.1",
        "externalIPs": ["192.0.2.1"] }));
    assert_eq!((alias.cluster_ips, alias.external_ips), (ips(&[]), ips(&[])));
    assert_eq!(alias.external_name, "x.example");
    let none = of(json!({ "type": "ClusterIP", "externalName": "x.example" }));
    assert_eq!(none.external_name, "");
}

#[test]
fn an_endpoint_slice_with_all_there_is() {
    let mut object = json!({
        "metadata": { "name": "web-abcde", "namespace": "shop",
            "labels": { "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "x" } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }, { "port": 0 }],
        "endpoints": [
            { "addresses": ["10.1.0.7"], "conditions": { "ready": true }, "nodeName": "node-1", "zone": "a",
                "targetRef": { "kind": "Pod", "name": "web-1", "namespace": "shop", "uid": "u-1" } },
            { "addresses": ["10.1.0.8", "nonsense"], "conditions": { "ready": false } },
            { "addresses": ["10.9.0.1"], "targetRef": { "kind": "Node", "name": "n" } },
        ],
    });
    let endpoint = |ip: &str, pod: Option<&str>, node: &str, zone: &str| Endpoint {
        addresses: ips(&[ip]),
        pod: pod.map(str::to_owned),
        pod_namespace: String::new(),
        terminating: false,
        unready: ip == "10.1.0.8",
        node: node.to_owned(),
        zone: zone.to_owned(),
    };
    let wanted = EndpointSlice {
        namespace: "shop".to_owned(),
        name: "web-abcde".to_owned(),
        service: "web".to_owned(),
        ports: vec![8080],
        all_ports: false,
        endpoints: vec![
            endpoint("10.1.0.7", Some("web-1"), "node-1", "a"),
            endpoint("10.1.0.8", None, "", ""),
            endpoint("10.9.0.1", None, "", ""),
        ],
    };
    assert_eq!(read::<EndpointSlice>(&object), wanted);
    object["endpoints"][0]["targetRef"]["namespace"] = json!("other");
    assert_eq!(read::<EndpointSlice>(&object).endpoints[0].pod_namespace, "other");
    object["endpoints"][0]["conditions"] = json!({ "ready": null, "serving": true, "terminating": true });
    let leaving = &read::<EndpointSlice>(&object).endpoints[0];
    assert_eq!((leaving.terminating, leaving.unready), (true, false));
    object["addressType"] = json!("FQDN");
    assert!(read::<EndpointSlice>(&object).endpoints.iter().all(|endpoint| endpoint.addresses.is_empty()));
}

#[test]
fn endpoint_slices_of_all_ports() {
    for (ports, all_ports) in [
        (Value::Null, true),
        (json!([]), true),
        (json!([{ "port": null, "protocol": "TCP" }]), true),
        (json!([{ "port": 80 }, {}]), true),
        (json!([{ "port": 80 }]), false),
        (json!([{ "port": 53, "protocol": "UDP" }]), false),
        (json!([{ "protocol": "UDP" }, { "port": null, "protocol": "SCTP" }]), false),
    ] {
        let slice = read::<EndpointSlice>(&json!({ "ports": ports }));
        assert_eq!(slice.all_ports, all_ports, "{ports}");
    }
}

#[test]
fn nodes_and_where_they_are() {
    let of = |labels: Value| {
        let node = read::<Node>(&json!({ "metadata": { "name": "n", "labels": labels } }));
        (node.zone, node.region)
    };
    let pair = |zone: &str, region: &str| (zone.to_owned(), region.to_owned());
    let (zone, region) = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region");
    let (old_zone, old_region) =
        ("failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region");
    assert_eq!(of(json!({ zone: "a", region: "r", old_zone: "b", old_region: "s" })), pair("a", "r"));
    assert_eq!(of(json!({ zone: "", old_zone: "b", old_region: "s" })), pair("b", "s"));
    assert_eq!(of(json!({})), pair("", ""));
    let node = read::<Node>(&json!({ "metadata": { "name": "n" }, "status": { "addresses": [
        { "type": "Hostname", "address": "192.0.2.5" }, { "type": "InternalIP", "address": "10.0.0.9" },
        { "type": "ExternalIP", "address": "192.0.2.4" }, { "type": "InternalIP", "address": "fd00::9" },
        { "type": "InternalIP", "address": "?" },
    ] } }));
    assert_eq!(node.addresses, ips(&["10.0.0.9", "192.0.2.4", "fd00::9"]));
}
