// SPDX-License-Identifier: Apache-2.0

//! A kernel and the one module wanted of it, out of Debian's package, kept in a cache directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

/// apt locks its lists; the two machines of the matrix are prepared at the same time.
static APT: Mutex<()> = Mutex::new(());

/// A kernel to boot.
#[derive(Debug, Clone)]
pub struct Image {
    /// As the kernel names itself, say `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The kernel, compressed.
    pub vmlinuz: PathBuf,
    /// `sch_netem.ko`, not compressed.
    pub netem: PathBuf,
}

impl Image {
    /// The kernel that Debian's `meta` package (say `linux-image-cloud-amd64`) depends on now. It is downloaded once and
    /// kept in `cache`.
    pub fn of(meta: &str, cache: &Path) -> Result<Self> {
        let package = {
            let _lock = APT.lock().expect("apt's lock");
            dependency(meta).or_else(|_| {
                run(Command::new("apt-get").args(["update", "-qq"]))?;
                dependency(meta)
            })?
        };
        let directory = cache.join(&package);
        let release = package.trim_start_matches("linux-image-").to_string();
        let image =
            Self { vmlinuz: directory.join("vmlinuz"), netem: directory.join("sch_netem.ko"), release };
        if !image.netem.exists() || !image.vmlinuz.exists() {
            image.download(&package, &directory).with_context(|| format!("package {package}"))?;
        }
        Ok(image)
    }

    fn download(&self, package: &str, directory: &Path) -> Result<()> {
        let scratch = directory.with_extension("new");
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch)?;
        {
            let _lock = APT.lock().expect("apt's lock");
            let download =
                || run(Command::new("apt-get").args(["download", "-qq", package]).current_dir(&scratch));
            if download().is_err() {
                // The lists are older than the archive: its last version is gone.
                run(Command::new("apt-get").args(["update", "-qq"]))?;
                download()?;
            }
        }
        let deb = one_with_suffix(&scratch, ".deb")?;
        let vmlinuz = format!("./boot/vmlinuz-{}", self.release);
        let netem = format!("./lib/modules/{}/kernel/net/sched/sch_netem.ko*", self.release);
        unpack(&deb, &scratch, &[&vmlinuz, &netem])?;
        fs::rename(scratch.join(vmlinuz), scratch.join("vmlinuz"))?;
        let modules = scratch.join(format!("lib/modules/{}/kernel/net/sched", self.release));
        let module = one_with_suffix(&modules, ".ko").or_else(|_| {
            let compressed = one_with_suffix(&modules, ".ko.xz")?;
            run(Command::new("xz").arg("--decompress").arg(&compressed))?;
            Ok::<_, anyhow::Error>(compressed.with_extension(""))
        })?;
        fs::rename(module, scratch.join("sch_netem.ko"))?;
        fs::remove_file(deb)?;
        let _ = fs::remove_dir_all(directory);
        fs::rename(&scratch, directory)?;
        Ok(())
    }
}

/// The kernel package that a meta package depends on.
fn dependency(meta: &str) -> Result<String> {
    let listing = run(Command::new("apt-cache").args(["depends", "--important", meta]))?;
    let found = listing.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    Ok(format!(
        "linux-image-{}",
        found.with_context(|| format!("apt knows no package {meta}: apt-get update"))?
    ))
}

fn unpack(deb: &Path, into: &Path, paths: &[&str]) -> Result<()> {
    let mut tar_file =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).spawn()?;
    let stream = tar_file.stdout.take().context("dpkg-deb has no output")?;
    let status = Command::new("tar")
        .args(["--extract", "--wildcards", "--directory"])
        .arg(into)
        .args(paths)
        .stdin(stream)
        .status()?;
    tar_file.wait()?;
    ensure!(status.success(), "{} has no {}", deb.display(), paths.join(" or no "));
    Ok(())
}

fn one_with_suffix(directory: &Path, suffix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(suffix) {
            return Ok(path);
        }
    }
    bail!("no *{suffix} in {}", directory.display())
}

/// Runs a command to its end and returns what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
