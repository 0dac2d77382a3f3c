// SPDX-License-Identifier: Apache-2.0
//! From address, port and control group to a name. Knows no kernel programs and no HTTP.
//!
//! A [`Resolver`] names both ends of a flow. The end on this node is an [`Owner`], as the kernel tells it: control group
//! ids and a process. The other end is an address. Both become an [`Identity`].
//!
//! # Local owners
//! The control group's path is what tells: the id of a group is the inode of its directory, so a walk of the mounted
//! hierarchy finds it, in version 2, version 1 and both at once. Groups whose directory has gone keep their name.
//!
//! | found in the path | workload | also |
//! |---|---|---|
//! | container of Docker, containerd, CRI-O, podman, nerdctl, ECS, Nomad | Swarm or Compose service, Kubernetes container, else container name, else image name, else `docker:0123456789ab` | `container`; `namespace` from the Compose project, stack or pod; `pod` |
//! | systemd service or scope | its name without suffix: `nginx`, `postgresql@15-main` | `container` if it runs in a machine |
//! | LXC, nspawn or virtual machine, and no unit in it | the machine's name | `container` |
//! | slice | its name: `batch.slice` | |
//! | login session | the user's slice: `user-1000.slice` | |
//! | `systemd-run`, terminal | the process name, `run` if it is not known | |
//! | nothing, `init.scope`, a plain directory | the process name; else the directory of the socket's own group; else `ambiguous` if several processes share the socket; else `unknown` | |
//!
//! `process` is the process name wherever it is known, `node` the host name. `kind` is always [`Kind::Host`].
//!
//! With a [`Cluster`], a container or network namespace of one of its pods is that pod: `kind` [`Kind::Pod`], workload the
//! pod's controller, `node` the name of the node in the API.
//!
//! # Remote ends
//! The operator's names file first (format: `docs/names-file.md`), then pods, Services and nodes of the [`Cluster`], then
//! the addresses of this host itself (workload: the host name), then the names that were asked for in the DNS
//! ([`Resolver::note_answer`], `docs/external-names.md`), then the ranges that cloud providers publish (`docs/cloud.md`),
//! else `external` for public addresses and `unknown` for all others, by the IANA registries of special purpose
//! addresses.
//!
//! # Place
//! Zone and region of this host, and so of its own workloads: names file, else the Node object, else what the provider's
//! metadata service told once ([`Resolver::ask_metadata`]).
//!
//! # Freshness
//! [`Resolver::refresh`] looks for changes; [`Resolver::generation`] grows when an earlier answer may be another now, and
//! [`Resolver::is_stale`] tells which. An address that goes from one pod to another does so at [`Resolver::settle`].
//! What cannot be read is no error: [`Resolver::sources`] tells, and names known before stay.

mod addresses;
mod cgroup;
mod changes;
mod cloud;
mod conntrack;
mod container_names;
mod dns_names;
mod file;
mod identity;
pub mod kubernetes;
mod local;
mod names_file;
mod operator_file;
mod owner;
mod pod_netns;
mod process;
mod ranges;
mod resolver;
mod status;

pub use cgroup::{Controller, Layout, Mode, cgroup_layout};
pub use changes::Subject;
pub use cloud::Provider;
pub use cloud::metadata::{Endpoint, EndpointError, Instance, MetadataConfig, MetadataMode, cloud_provider};
/// Public for the fuzzer alone.
#[doc(hidden)]
pub use cloud::ranges::fuzz_cloud_ranges;
pub use cloud::ranges::{MAX_BYTES as MAX_CLOUD_RANGES_BYTES, check_cloud_ranges};
pub use conntrack::Conntrack;
pub use container_names::container_directories;
pub use dns_names::{check_external_patterns, registrable_domain};
pub use file::{Signature, read_capped};
pub use identity::{Identity, Kind, MAX_LABEL_BYTES};
pub use kubernetes::cluster::{Cluster, PodScope};
/// What the watches tell a [`Cluster`]: public for the benchmarks alone.
#[doc(hidden)]
pub use kubernetes::objects;
pub use names_file::{MAX_BYTES as MAX_NAMES_FILE_BYTES, check_names_file};
pub use operator_file::yaml::read as read_yaml;
pub use operator_file::{Fault, FileError};
pub use owner::{Owner, Process, ProcessHierarchy};
pub use resolver::{Config, Error, Resolver, host_name};
pub use status::SourceStatus;

type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
type Set<T> = std::collections::HashSet<T, foldhash::fast::RandomState>;
