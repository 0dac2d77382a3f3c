// SPDX-License-Identifier: Apache-2.0
//! Which directories hold the files that are read while the program runs.

use std::path::{Component, Path, PathBuf};

use flowgauge_labels::container_directories;

use crate::flags::Flags;

/// As the kernel does.
const MOST_LINKS: usize = 40;
/// Where a pod finds what it needs to talk to the API.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What resolving a host's name may take: `resolv.conf`, `hosts`, and the C library's own modules.
const NAME_RESOLUTION: [&str; 4] = ["/etc", "/lib", "/usr/lib", "/run/systemd/resolve"];

/// Trees of the kernel, and the files that the operator names addresses by: what every thread may read.
pub fn common(flags: &Flags) -> Vec<PathBuf> {
    let paths = &flags.paths;
    let mut places: Vec<PathBuf> = ["/proc", "/sys"].map(PathBuf::from).into();
    places.extend([&paths.procfs, &paths.sysfs, &paths.cgroup].map(Clone::clone));
    let files = flags.names_file().into_iter().chain(flags.external_patterns());
    for file in files.chain(flags.cloud.ranges.iter().map(PathBuf::as_path)) {
        places.extend(around(file));
    }
    places
}

/// What containers and the host are called; and other hosts, if one is to be asked.
pub fn names(flags: &Flags, of_hosts: bool) -> Vec<PathBuf> {
    let root = &flags.paths.rootfs;
    let mut places: Vec<_> = container_directories(root).iter().map(|path| existing(path, root)).collect();
    if of_hosts {
        places.extend(name_resolution());
    }
    places
}

/// The web configuration, and the certificates that it names, or may name next: those in its own directory.
pub fn web_config(flags: &Flags, read: &[PathBuf]) -> Vec<PathBuf> {
    let file = flags.serving.config_file().into_iter();
    file.chain(read.iter().map(PathBuf::as_path)).flat_map(around).collect()
}

/// The API's credentials, and whatever a kubeconfig may name: anything.
pub fn kubernetes(flags: &Flags) -> Vec<PathBuf> {
    let kubeconfig = flags.kubernetes.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some();
    if kubeconfig {
        return vec![PathBuf::from("/")];
    }
    let mut places = name_resolution();
    places.push(PathBuf::from(SERVICE_ACCOUNT));
    places
}

/// See [`NAME_RESOLUTION`].
fn name_resolution() -> Vec<PathBuf> {
    NAME_RESOLUTION.map(PathBuf::from).into()
}

/// The directories in which a file may be replaced, by another file or by another link: that of the path, and those that
/// its links lead to. A root directory is none of them: there, it is the file itself.
fn around(path: &Path) -> Vec<PathBuf> {
    let Ok(path) = std::path::absolute(path) else { return Vec::new() };
    let mut places = Vec::new();
    let mut rest: Vec<_> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    let mut current = PathBuf::new();
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if Component::ParentDir.as_os_str() == part {
            current.pop();
            continue;
        }
        let next = current.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                let target = current.join(target);
                places.push(directory_of(&target));
                rest.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                current = PathBuf::new();
            }
            _ => current = next,
        }
    }
    places.push(directory_of(&current));
    places
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.parent().is_some() => parent.to_owned(),
        _ => path.to_owned(),
    }
}

/// The path, or what is there of it if it is still to come: never more than the two levels of `/var/lib` or `/run`.
fn existing(path: &Path, root: &Path) -> PathBuf {
    let within = |path: &Path| path.strip_prefix(root).map_or(0, |below| below.components().count());
    let mut found = path;
    while !found.exists()
        && let Some(parent) = found.parent().filter(|parent| within(parent) >= 1)
    {
        found = parent;
    }
    // Nothing of `/home/somebody` or `/var` as a whole.
    let whole = ["var", "home", "root"].iter().any(|name| found == root.join(name));
    if whole || path.starts_with(root.join("home")) && found != path {
        path.to_owned()
    } else {
        found.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, PathBuf, around, existing};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_config_map_and_a_certificate_that_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let config = root.join("config");
        fs::create_dir_all(config.join("..2024")).unwrap();
        fs::write(config.join("..2024/names.yaml"), "").unwrap();
        symlink("..2024", config.join("..data")).unwrap();
        symlink("..data/names.yaml", config.join("names.yaml")).unwrap();
        let places = around(&config.join("names.yaml"));
        assert!(places.contains(&config), "{places:?}");
        assert!(places.iter().all(|place| place.starts_with(&config)), "{places:?}");
        // Let's Encrypt's clients.
        for directory in ["live/x", "archive/x"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("archive/x/cert1.pem"), "").unwrap();
        symlink("../../archive/x/cert1.pem", root.join("live/x/cert.pem")).unwrap();
        let places = around(&root.join("live/x/cert.pem"));
        let canonical = |path: &PathBuf| path.canonicalize().unwrap();
        assert!(places.iter().map(canonical).any(|place| place == root.join("archive/x")), "{places:?}");
        // A release that is switched as a whole.
        fs::create_dir_all(root.join("releases/1")).unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        let places = around(&root.join("current/names.yaml"));
        assert!(places.contains(&root.join("releases")), "{places:?}");
    }

    #[test]
    fn odd_paths() {
        assert_eq!(around(Path::new("/names.yaml")), [Path::new("/names.yaml")]);
        let dir = tempfile::tempdir().unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(!around(&dir.path().join("loop")).is_empty());
    }

    #[test]
    fn what_is_still_to_come() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("var/lib")).unwrap();
        fs::create_dir_all(root.join("home/anna")).unwrap();
        assert_eq!(existing(&root.join("var/lib/docker/containers"), root), root.join("var/lib"));
        let later = root.join("run/containerd");
        assert_eq!(existing(&later, root), root.join("run"));
        let home = root.join("home/anna/.local/share/containers");
        assert_eq!(existing(&home, root), home);
        fs::create_dir_all(&home).unwrap();
        assert_eq!(existing(&home, root), home);
    }
}
