// SPDX-License-Identifier: Apache-2.0
//! Tells the program which revision and compiler made it.

use std::path::Path;
use std::process::Command;

fn main() {
    // Sources without their history, as in a container's build, have it told.
    println!("cargo::rerun-if-env-changed=FLOWGAUGE_REVISION");
    let told = std::env::var("FLOWGAUGE_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = told
        .or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=FLOWGAUGE_REVISION={revision}");
    let compiler = std::env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    let release = compiler.as_deref().and_then(|line| line.split(' ').nth(1)).unwrap_or("unknown");
    println!("cargo::rustc-env=FLOWGAUGE_RUSTC={release}");
    println!(
        "cargo::rustc-env=FLOWGAUGE_ARCH={}",
        std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default()
    );

    // HEAD names a branch, and the branch's file or the reflog moves with each commit. A path that does not exist would
    // make every build a new one, so only those that do are watched.
    println!("cargo::rerun-if-changed=build.rs");
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output("git", &["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
