// SPDX-License-Identifier: Apache-2.0

//! The kernel matrix: the exporter that ships, under Debian's oldest and newest kernel.

use std::path::Path;
use std::time::Duration;

use flowgauge_tests::exporter;
use flowgauge_tests::kernels::{Boot, Image, Initramfs};

/// Debian 12's own kernel: the oldest that is supported.
#[test]
fn linux_6_1() {
    boot("linux-image-cloud-amd64", "6.1.");
}

/// Debian's kernel of the year after, from the security archive.
#[test]
fn linux_6_12() {
    boot("linux-image-6.12-cloud-amd64", "6.12.");
}

fn boot(package: &str, version: &str) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let image = Image::of(package, &cache).unwrap();
    assert!(image.release.starts_with(version), "{package} is {} now", image.release);

    let mut root = Initramfs::new(include_bytes!("../kernels/init")).unwrap();
    root.program(Path::new("/bin/ip"), "/sbin/ip").unwrap();
    root.program(Path::new("/sbin/tc"), "/sbin/tc").unwrap();
    root.program(&exporter::binary().unwrap(), "/bin/flowgauge").unwrap();
    root.program(Path::new(env!("CARGO_BIN_EXE_fg-vm-check")), "/bin/fg-vm-check").unwrap();
    root.data(&image.netem, "/sch_netem.ko").unwrap();
    let initramfs = cache.join(format!("{}.initramfs", image.release));
    root.write(&initramfs).unwrap();

    let boot =
        Boot { vmlinuz: &image.vmlinuz, initramfs: &initramfs, memory: 512, limit: Duration::from_secs(420) };
    let outcome = boot.run().unwrap_or_else(|error| panic!("{}: {error:#}", image.release));
    println!("{}:\n{outcome}", image.release);
    assert!(outcome.passed(), "{}: its console was\n{}", image.release, outcome.console);
}
