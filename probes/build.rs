// SPDX-License-Identifier: Apache-2.0
//! Compiles the BPF programs and generates their skeletons.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

const PROBES: &[&str] = &["cgroups", "drops", "namespaces", "packets", "tcp"];

/// Where Debian keeps the architecture's own part of the UAPI headers (`asm/types.h`).
fn multiarch_include() -> Option<PathBuf> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let printed = Command::new("gcc").arg("-print-multiarch").output().ok();
    let triplet = printed
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .filter(|triplet| triplet.starts_with(&arch))
        .unwrap_or(format!("{arch}-linux-gnu"));
    let path = PathBuf::from("/usr/include").join(triplet);
    path.is_dir().then_some(path)
}

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut args = vec!["-Wall".into(), "-Werror".into(), "-mcpu=v3".into()];
    if let Some(include) = multiarch_include() {
        args.push(format!("-I{}", include.display()).into());
    }
    for probe in PROBES {
        let mut builder = SkeletonBuilder::new();
        builder.source(format!("bpf/{probe}.bpf.c")).clang_args::<_, std::ffi::OsString>(args.clone());
        if let Some(clang) = env::var_os("CLANG") {
            builder.clang(clang);
        }
        if let Err(error) = builder.build_and_generate(out.join(format!("{probe}.skel.rs"))) {
            panic!("bpf/{probe}.bpf.c does not build (is clang 14 or newer installed?): {error:?}");
        }
    }
}
