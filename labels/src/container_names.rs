// SPDX-License-Identifier: Apache-2.0
//! What people call a container, read from the files of its runtime.
//!
//! A container's id is a bad name: it is another at each deployment, and every one would be a series. In this order:
//!
//! 1. the label of what made the container: Swarm service, Compose service (with the project as namespace), Kubernetes
//!    container (with the pod and its namespace);
//! 2. the container's name;
//! 3. the image's name without registry and tag;
//! 4. `<runtime>:<short id>`, if none of these can be read.
//!
//! Files, below `--path.rootfs`: Docker's `containers/<id>/config.v2.json`, containers.json of podman and CRI-O (rootless
//! podman's in the user's home), the OCI bundle that containerd keeps for a running container.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Map;
use crate::cgroup::container::{Container, Runtime};
use crate::file::read_capped;
use crate::identity::clean;

const MAX_JSON: u64 = 8 << 20;
/// containers.json lies in a directory named after the storage driver.
const STORAGE_DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];

/// The names of one container; what is not known is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ContainerName {
    pub workload: String,
    pub container: String,
    pub namespace: String,
    pub pod: String,
}

/// Where the runtimes keep their files.
#[derive(Debug)]
pub(crate) struct ContainerNames {
    rootfs: PathBuf,
    docker: Vec<PathBuf>,
}

type Labels = Map<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    #[serde(default)]
    name: String,
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    #[serde(default)]
    image: String,
    labels: Option<Labels>,
}

#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    names: Option<Vec<String>>,
    /// JSON inside JSON.
    metadata: Option<String>,
}

#[derive(Deserialize, Default)]
struct StoredMetadata {
    #[serde(default, rename = "image-name")]
    image_name: String,
}

#[derive(Deserialize)]
struct Bundle {
    annotations: Option<Labels>,
}

/// What a runtime's file says, in the order of preference of the module's description.
#[derive(Default)]
struct Facts {
    labels: Labels,
    name: String,
    image: String,
}

/// The directories in which [`ContainerNames`] looks, whether they are there or not, and those of the host's own files:
/// `passwd`, `hostname`, `resolv.conf`.
pub fn container_directories(rootfs: &Path) -> Vec<PathBuf> {
    let names = ContainerNames::new(rootfs);
    let mut directories =
        vec![rootfs.join("etc"), rootfs.join("run/containerd"), rootfs.join("var/lib/containers")];
    directories.extend(names.docker.iter().map(|root| root.join("containers")));
    let passwd = read_capped(&rootfs.join("etc/passwd"), MAX_JSON).unwrap_or_default();
    let homes = String::from_utf8_lossy(&passwd);
    let homes = homes.lines().filter_map(|line| line.split(':').nth(5)).filter(|home| home.len() > 1);
    directories.extend(homes.map(|home| below(rootfs, home).join(".local/share/containers")));
    directories
}

impl ContainerNames {
    pub fn new(rootfs: &Path) -> Self {
        #[derive(Deserialize)]
        struct Daemon {
            #[serde(rename = "data-root")]
            data_root: Option<String>,
        }
        let daemon: Option<Daemon> = read_json(&rootfs.join("etc/docker/daemon.json"));
        let configured = daemon.and_then(|daemon| daemon.data_root);
        let roots = ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"];
        let docker = configured.as_deref().into_iter().chain(roots).map(|root| below(rootfs, root)).collect();
        ContainerNames { rootfs: rootfs.to_owned(), docker }
    }

    /// The names of `container`. `user` is the owner of a rootless one.
    pub fn name(&self, container: &Container, user: Option<u32>) -> ContainerName {
        if let Some(name) = container.name.as_deref().and_then(clean) {
            return ContainerName { workload: name.clone(), container: name, ..Default::default() };
        }
        let id = &container.id;
        let facts = match container.runtime {
            Runtime::Docker => self.docker(id),
            Runtime::Containerd => self.containerd(id).or_else(|| self.docker(id)),
            Runtime::Podman | Runtime::Crio => self.stored(id, user),
            Runtime::Nomad => None,
            Runtime::Unknown => {
                self.docker(id).or_else(|| self.containerd(id)).or_else(|| self.stored(id, user))
            }
        };
        facts.unwrap_or_default().name(container)
    }

    fn docker(&self, id: &str) -> Option<Facts> {
        let file = |root: &PathBuf| read_json(&root.join("containers").join(id).join("config.v2.json"));
        let found: DockerContainer = self.docker.iter().find_map(file)?;
        let (image, labels) =
            found.config.map_or_else(Default::default, |config| (config.image, config.labels));
        Some(Facts { labels: labels.unwrap_or_default(), name: found.name, image })
    }

    fn containerd(&self, id: &str) -> Option<Facts> {
        let tasks = self.rootfs.join("run/containerd/io.containerd.runtime.v2.task");
        let file = |namespace| read_json::<Bundle>(&tasks.join(namespace).join(id).join("config.json"));
        let mut labels = ["k8s.io", "default", "moby"].into_iter().find_map(file)?.annotations?;
        let image = labels.remove("io.kubernetes.cri.image-name").unwrap_or_default();
        Some(Facts { labels, image, ..Default::default() })
    }

    fn stored(&self, id: &str, user: Option<u32>) -> Option<Facts> {
        let home = user.and_then(|uid| self.home(uid));
        let roots = [
            home.map(|home| home.join(".local/share/containers")),
            Some(self.rootfs.join("var/lib/containers")),
        ];
        let in_file = |path: PathBuf| {
            let all: Vec<StoredContainer> = read_json(&path)?;
            all.into_iter().find(|stored| stored.id == id)
        };
        let files = roots.into_iter().flatten().flat_map(|root| {
            STORAGE_DRIVERS.into_iter().flat_map(move |driver| {
                let dir = root.join(format!("storage/{driver}-containers"));
                ["containers.json", "volatile-containers.json"].map(|file| dir.join(file))
            })
        });
        let found = files.into_iter().find_map(in_file)?;
        let metadata: StoredMetadata =
            found.metadata.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let name = found.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
        Some(Facts { name, image: metadata.image_name, ..Default::default() })
    }

    fn home(&self, uid: u32) -> Option<PathBuf> {
        let passwd = read_capped(&self.rootfs.join("etc/passwd"), MAX_JSON).ok()?;
        let passwd = String::from_utf8_lossy(&passwd);
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = passwd
            .lines()
            .map(fields)
            .find(|fields| fields.get(2).is_some_and(|id| *id == uid.to_string()))?;
        user.get(5).map(|home| below(&self.rootfs, home))
    }
}

impl Facts {
    fn name(self, container: &Container) -> ContainerName {
        let label = |key: &str| self.labels.get(key).and_then(|value| clean(value));
        let own = clean(self.name.trim_start_matches('/'));
        // CRI-O, and Docker under a kubelet of old: `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`.
        let k8s: Vec<&str> = own
            .as_deref()
            .and_then(|name| name.strip_prefix("k8s_"))
            .map_or_else(Vec::new, |rest| rest.split('_').collect());
        let k8s = |at: usize| k8s.get(at).filter(|_| k8s.len() >= 5).and_then(|part| clean(part));
        let either = |first: &str, second: &str| label(first).or_else(|| label(second));
        let in_pod =
            either("io.kubernetes.container.name", "io.kubernetes.cri.container-name").or_else(|| k8s(0));
        let display = in_pod.clone().or_else(|| own.clone());
        let image = || clean(image_name(&self.image));
        let container = display.clone().or_else(image).unwrap_or_else(|| container.short());
        let swarm = label("com.docker.swarm.service.name");
        let compose = label("com.docker.compose.service");
        ContainerName {
            namespace: either("io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace")
                .or_else(|| k8s(2))
                .or_else(|| label("com.docker.stack.namespace"))
                .or_else(|| label("com.docker.compose.project"))
                .unwrap_or_default(),
            pod: either("io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name")
                .or_else(|| k8s(1))
                .unwrap_or_default(),
            workload: in_pod.or(swarm).or(compose).unwrap_or_else(|| container.clone()),
            container,
        }
    }
}

/// `registry:5000/team/nginx:1.25@sha256:…` is `nginx`. What is only a digest has no name.
fn image_name(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split_once(':').map_or(last, |(name, _)| name);
    if name == "sha256" || name.len() == 64 { "" } else { name }
}

/// A path of the host, seen from here.
fn below(rootfs: &Path, path: &str) -> PathBuf {
    rootfs.join(path.trim_start_matches('/'))
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    let bytes = read_capped(path, MAX_JSON).ok()?;
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::debug!(file = %path.display(), %error, "not understood"))
        .ok()
}

#[cfg(test)]
mod tests;
