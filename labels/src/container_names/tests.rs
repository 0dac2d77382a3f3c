// SPDX-License-Identifier: Apache-2.0
//! Files as the runtimes write them.

use std::fs;

use super::*;

const ID: &str = "3f8e9a0c41d25b7766aa1122334455667788990011223344aabbccddeeff0011";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn docker(root: &Path, text: &str) -> ContainerName {
    write(root, &format!("var/lib/docker/containers/{ID}/config.v2.json"), text);
    ask(root, Runtime::Docker, None)
}

fn ask(root: &Path, runtime: Runtime, user: Option<u32>) -> ContainerName {
    ContainerNames::new(root).name(&Container { runtime, id: ID.into(), name: None }, user)
}

fn named(workload: &str, container: &str, namespace: &str, pod: &str) -> ContainerName {
    let [workload, container, namespace, pod] = [workload, container, namespace, pod].map(str::to_owned);
    ContainerName { workload, container, namespace, pod }
}

#[test]
fn docker_by_label_then_name_then_image_then_id() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert_eq!(ask(root, Runtime::Docker, None), named("docker:3f8e9a0c41d2", "docker:3f8e9a0c41d2", "", ""));
    let compose = r#"{"StreamConfig":{},"State":{"Running":true},"ID":"3f8e","Name":"/shop-web-1","Config":{"Hostname":"3f8e","Image":"nginx:1.25","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}}}"#;
    assert_eq!(docker(root, compose), named("web", "shop-web-1", "shop", ""));
    let swarm = r#"{"Name":"/shop_api.1.x7k2","Config":{"Image":"api","Labels":{"com.docker.swarm.service.name":"shop_api","com.docker.stack.namespace":"shop"}}}"#;
    assert_eq!(docker(root, swarm), named("shop_api", "shop_api.1.x7k2", "shop", ""));
    let plain = r#"{"Name":"/cache","Config":{"Image":"redis:7","Labels":null}}"#;
    assert_eq!(docker(root, plain), named("cache", "cache", "", ""));
    let kubelet = r#"{"Name":"/k8s_coredns_coredns-5d78_kube-system_0f1d_0","Config":{"Labels":{}}}"#;
    assert_eq!(docker(root, kubelet), named("coredns", "coredns", "kube-system", "coredns-5d78"));
    let image = r#"{"Name":"","Config":{"Image":"registry.test:5000/team/redis:7@sha256:abc"}}"#;
    assert_eq!(docker(root, image), named("redis", "redis", "", ""));
    for broken in ["", "{", "[]", "null", r#"{"Name":3}"#, r#"{"Name":"/"}"#] {
        assert_eq!(docker(root, broken).workload, "docker:3f8e9a0c41d2", "{broken}");
    }
    let hostile = docker(root, r#"{"Name":"/a\u0000b\nc","Config":null}"#);
    assert_eq!(hostile.workload, "a\u{fffd}b\u{fffd}c");
}

#[test]
fn docker_in_another_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "etc/docker/daemon.json", r#"{"data-root":"/srv/docker","debug":true}"#);
    write(dir.path(), &format!("srv/docker/containers/{ID}/config.v2.json"), r#"{"Name":"/far"}"#);
    assert_eq!(ask(dir.path(), Runtime::Docker, None).workload, "far");
    assert_eq!(ask(dir.path(), Runtime::Unknown, None).workload, "far");
}

#[test]
fn podman_of_root_and_of_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let stored = |name: &str| {
        format!(
            r#"[{{"id":"ffff","names":["other"]}},{{"id":"{ID}","names":["{name}"],"image":"c0ffee","layer":"l","metadata":"{{\"image-name\":\"docker.io/library/nginx:latest\",\"name\":\"{name}\"}}","created":"2026-01-01T00:00:00Z","flags":{{}}}}]"#
        )
    };
    write(root, "var/lib/containers/storage/overlay-containers/containers.json", &stored("web"));
    assert_eq!(ask(root, Runtime::Podman, None).workload, "web");
    assert_eq!(ask(root, Runtime::Unknown, None).workload, "web");
    write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n");
    write(
        root,
        "home/ann/.local/share/containers/storage/vfs-containers/volatile-containers.json",
        &stored("blog"),
    );
    assert_eq!(ask(root, Runtime::Podman, Some(1000)).workload, "blog");
    assert_eq!(ask(root, Runtime::Podman, Some(1001)).workload, "web", "nobody's home, so the host's");
    let nameless = stored("x").replace(r#""names":["x"]"#, r#""names":null"#);
    write(root, "var/lib/containers/storage/overlay-containers/containers.json", &nameless);
    assert_eq!(ask(root, Runtime::Podman, None).workload, "nginx", "the image's name");
}

#[test]
fn crio_and_containerd_under_a_kubelet() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let stored =
        format!(r#"[{{"id":"{ID}","names":["k8s_api_api-6f9_prod_0f1d2c3b_2"],"metadata":"not json"}}]"#);
    write(root, "var/lib/containers/storage/overlay-containers/containers.json", &stored);
    assert_eq!(ask(root, Runtime::Crio, None), named("api", "api", "prod", "api-6f9"));
    let bundle = r#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"web","io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.image-name":"docker.io/library/nginx:1"}}"#;
    write(root, &format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"), bundle);
    assert_eq!(ask(root, Runtime::Containerd, None), named("web", "web", "shop", "web-0"));
}

#[test]
fn image_names() {
    for (image, name) in [
        ("nginx", "nginx"),
        ("docker.io/library/nginx:1.25", "nginx"),
        ("registry.test:5000/nginx", "nginx"),
        ("sha256:abcdef", ""),
        (ID, ""),
        ("", ""),
    ] {
        assert_eq!(image_name(image), name, "{image}");
    }
}

proptest::proptest! {
    #[test]
    fn hostile_text_does_not_panic(name in "\\PC{0,40}", image in "[a-z:/@é]{0,40}", k8s in "/?k8s(_[a-z]{0,3}){0,8}") {
        for name in [name, k8s] {
            let facts = Facts { name, image: image.clone(), ..Default::default() };
            let container = Container { runtime: Runtime::Unknown, id: "é".repeat(9), name: None };
            proptest::prop_assert!(!facts.name(&container).workload.is_empty());
        }
    }
}
