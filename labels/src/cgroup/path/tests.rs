// SPDX-License-Identifier: Apache-2.0
//! Paths as the runtimes and systemd make them.

use super::*;
use crate::cgroup::container::Runtime;

const ID: &str = "3f8e9a0c41d25b7766aa1122334455667788990011223344aabbccddeeff0011";
const INNER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const UID: &str = "0f1d2c3b-4a59-4867-b978-8a9bacbdcedf";
const UID_: &str = "0f1d2c3b_4a59_4867_b978_8a9bacbdcedf";

fn read(path: &str) -> Path {
    parse(&path.replace("<id>", ID).replace("<inner>", INNER).replace("<uid>", UID).replace("<uid_>", UID_))
}

#[test]
fn containers_of_every_runtime_and_driver() {
    use Runtime::{Containerd, Crio, Docker, Podman, Unknown};
    for (path, runtime) in [
        ("/docker/<id>", Docker),
        ("/system.slice/docker-<id>.scope", Docker),
        ("/system.slice/docker-<id>.scope/init.scope", Docker),
        ("/system.slice/docker-<id>.scope/system.slice/nginx.service", Docker),
        ("/custom.slice/custom-parent.slice/docker-<id>.scope", Docker),
        ("/ecs/0123456789abcdef0123456789abcdef/<id>", Docker),
        ("/ecstasks.slice/ecstasks-0123456789abcdef0123456789abcdef.slice/docker-<id>.scope", Docker),
        ("/default/<id>", Containerd),
        ("/system.slice/nerdctl-<id>.scope", Containerd),
        ("/system.slice:docker:<id>", Docker),
        ("/machine.slice/libpod-<id>.scope", Podman),
        ("/machine.slice/libpod-<id>.scope/container", Podman),
        ("/machine.slice/machine-libpod_pod_<inner>.slice/libpod-<id>.scope/container", Podman),
        ("/machine.slice/libpod-conmon-<id>.scope", Podman),
        ("/libpod_parent/libpod-<id>", Podman),
        ("/system.slice/web.service/libpod-payload-<id>", Podman),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope/container", Podman),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-<id>", Podman),
        ("/crio-<id>", Crio),
        ("/some/other/<id>", Unknown),
        ("/docker/<inner>/docker/<id>", Docker),
        ("/system.slice/docker-<inner>.scope/docker/<id>", Docker),
        ("/lxc.payload.build/system.slice/docker-<id>.scope", Docker),
    ] {
        let found = read(path);
        let container = found.container.as_ref().unwrap_or_else(|| panic!("{path}: {found:?}"));
        assert_eq!((container.runtime, container.id.as_str()), (runtime, ID), "{path}");
        assert_eq!(found.pod_uid, None, "{path}");
        assert_eq!(found.weight(), 8, "{path}");
    }
    assert_eq!(read("/docker/<id>").container.unwrap().short(), "docker:3f8e9a0c41d2");
    let rootless =
        read("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope/container");
    assert_eq!(rootless.user, Some(1000));
}

#[test]
fn containers_of_pods() {
    use Runtime::{Containerd, Crio, Docker, Unknown};
    for (path, runtime) in [
        ("/kubepods/burstable/pod<uid>/<id>", Unknown),
        ("/kubepods/pod<uid>/crio-<id>", Crio),
        ("/kubepods/besteffort/pod<uid>/crio-conmon-<id>", Crio),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope",
            Containerd,
        ),
        ("/kubepods.slice/kubepods-pod<uid_>.slice/crio-<id>.scope", Crio),
        ("/kubepods.slice/kubepods-pod<uid_>.slice/crio-<id>.scope/container", Crio),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<uid_>.slice/docker-<id>.scope",
            Docker,
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope",
            Containerd,
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod<uid_>.slice:cri-containerd:<id>",
            Containerd,
        ),
        ("/docker/<inner>/kubelet/kubepods/besteffort/pod<uid>/<id>", Unknown),
        (
            "/system.slice/docker-<inner>.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<uid_>.slice/cri-containerd-<id>.scope",
            Containerd,
        ),
    ] {
        let found = read(path);
        assert_eq!(found.pod_uid.as_deref(), Some(UID), "{path}");
        let container = found.container.unwrap_or_else(|| panic!("{path}"));
        assert_eq!((container.runtime, container.id.as_str()), (runtime, ID), "{path}");
    }
    let mirror = read("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/<id>");
    assert_eq!(mirror.pod_uid.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    let pod = read("/kubepods.slice/kubepods-pod<uid_>.slice");
    assert_eq!((pod.pod_uid.as_deref(), pod.container, pod.group), (Some(UID), None, Group::Nothing));
}

#[test]
fn containers_that_the_path_names() {
    for path in ["/nomad.slice/share.slice/<uid>.web.scope", "/nomad/<uid>.web"] {
        let container = read(path).container.unwrap();
        assert_eq!(
            (container.runtime, container.id.as_str(), container.name.as_deref()),
            (Runtime::Nomad, UID, Some("web"))
        );
    }
    let task = "0123456789abcdef0123456789abcdef";
    let fargate = parse(&format!("/ecs/{task}/{task}-1234567890")).container.unwrap();
    assert_eq!((fargate.runtime, fargate.id), (Runtime::Unknown, format!("{task}-1234567890")));
}

#[test]
fn machines_and_what_runs_in_them() {
    for (path, machine, group) in [
        ("/lxc.payload.web1", "web1", Group::Nothing),
        ("/lxc.payload.web1/init.scope", "web1", Group::Nothing),
        ("/lxc.payload.web1/system.slice/nginx.service", "web1", Group::Unit("nginx".into())),
        ("/lxc.monitor.web1", "web1", Group::Nothing),
        ("/lxc.payload/web1/system.slice/nginx.service", "web1", Group::Unit("nginx".into())),
        ("/lxc/web1", "web1", Group::Nothing),
        (
            "/lxc/101/ns/system.slice/postgresql@15-main.service",
            "101",
            Group::Unit("postgresql@15-main".into()),
        ),
        ("/lxc/101/ns", "101", Group::Nothing),
        ("/machine.slice/machine-db\\x2d1.scope", "db-1", Group::Nothing),
        (
            "/machine.slice/systemd-nspawn@build.service/payload/system.slice/sshd.service",
            "build",
            Group::Unit("sshd".into()),
        ),
        ("/machine.slice/systemd-nspawn@build.service/supervisor", "build", Group::Nothing),
        ("/machine.slice/machine-qemu\\x2d7\\x2dmail.scope/libvirt/emulator", "mail", Group::Nothing),
        ("/machine.slice/machine-lxc\\x2d12345\\x2dold.scope", "old", Group::Nothing),
        ("/qemu.slice/100.scope", "qemu-100", Group::Nothing),
        ("/docker/<id>/lxc.payload.deep", "deep", Group::Nothing),
    ] {
        let found = read(path);
        assert_eq!((found.machine.as_deref(), &found.group), (Some(machine), &group), "{path}");
        assert_eq!(found.container, None, "{path}");
    }
}

#[test]
fn systemd_units() {
    for (path, name) in [
        ("/system.slice/nginx.service", "nginx"),
        ("/system.slice/nginx.service/workers/1", "nginx"),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", "postgresql@15-main"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1"),
        ("/system.slice/system-sshd.slice/sshd@7-192.0.2.1:22-192.0.2.9:51514.service", "sshd"),
        ("/system.slice/sshd@7-[2001:db8::1]:22-[fe80::2]:51514.service", "sshd"),
        ("/system.slice/systemd-coredump@3-51234-0.service", "systemd-coredump"),
        ("/system.slice/systemd-coredump@3-51234_9876-0.service", "systemd-coredump"),
        ("/system.slice/dbus-:1.9-org.freedesktop.problems@0.service", "org.freedesktop.problems"),
        ("/system.slice/foo\\x2dbar.service", "foo-bar"),
        ("/system.slice/bad\\xZZ.service", "bad\\xZZ"),
        ("/system.slice/data.mount", "data.mount"),
        ("/system.slice/app-server.service", "app-server"),
        ("/system.slice/run-thing.service", "run-thing"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service", "syncthing"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4711.scope", "firefox"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo-1234.scope", "foo"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.mozilla.firefox-99.scope",
            "org.mozilla.firefox",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-visual\\x2dcode@3f2a.service",
            "visual-code",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/snap.firefox.firefox-<uid>.scope",
            "snap.firefox.firefox",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/snap.code.code.<uid>.scope",
            "snap.code.code",
        ),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4711.scope", "podman"),
    ] {
        let found = read(path);
        assert_eq!(found.group, Group::Unit(name.into()), "{path}");
        assert_eq!(found.weight(), 6, "{path}");
    }
}

#[test]
fn groups_that_say_little_or_nothing() {
    let user = || Group::User("user-1000.slice".into());
    for (path, group) in [
        ("/", Group::Nothing),
        ("", Group::Nothing),
        ("/init.scope", Group::Nothing),
        ("/system.slice", Group::Nothing),
        ("/user.slice", Group::Nothing),
        ("/kubepods.slice/kubepods-burstable.slice", Group::Nothing),
        ("/batch.slice", Group::Slice("batch.slice".into())),
        ("/batch.slice/batch-night.slice", Group::Slice("batch-night.slice".into())),
        ("/user.slice/user-1000.slice", user()),
        ("/user.slice/user-1000.slice/session-3.scope", user()),
        ("/user.slice/user-1000.slice/session-c2.scope", user()),
        ("/user.slice/user-1000.slice/user@1000.service", user()),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", user()),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice", user()),
        ("/session-3.scope", Group::Transient),
        ("/system.slice/run-u12.service", Group::Transient),
        ("/system.slice/run-1234.scope", Group::Transient),
        ("/system.slice/run-p12-i34.service", Group::Transient),
        ("/system.slice/run-r0123456789abcdef0123456789abcdef.scope", Group::Transient),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-<uid>.scope", Group::Transient),
        ("/jobs", Group::Directory("jobs".into())),
        ("/jobs/0123456789abcdef0123456789abcdef", Group::Directory("jobs".into())),
        ("/jobs/17", Group::Directory("jobs".into())),
        ("/<uid>", Group::Nothing),
    ] {
        let found = read(path);
        assert_eq!((&found.group, found.container, found.machine), (&group, None, None), "{path}");
    }
}

#[test]
fn near_misses_are_no_containers() {
    for path in [
        "/docker",
        "/docker/abc",
        "/system.slice/docker.service",
        "/docker-<id>x.scope",
        "/system.slice/docker-abc.scope",
        "/podcast",
        "/kubepods-podx.slice",
        "/a:b:c",
        "/<uid>.",
        "/lxc",
        "/lxc.payload.",
    ] {
        let found = read(path);
        assert_eq!((found.container, found.machine, found.pod_uid), (None, None, None), "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn hostile_paths_do_not_panic(text in "\\PC{0,200}", likely in "(/|pod|kubepods|-|_|:|\\.slice|\\.scope|\\.service|docker|libpod-|lxc|é|\\\\x2|\\\\xff|run-|user@|app-|@|[0-9a-f]{32}|[0-9a-f]{64}|0f1d2c3b-4a59-4867-b978-8a9bacbdcedf|1){0,16}") {
        parse(&text);
        parse(&likely);
    }
}
