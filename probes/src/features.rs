// SPDX-License-Identifier: Apache-2.0
//! What the probes use of the kernel, one by one, found by trying it: what explains a probe that cannot be loaded. Programs of
//! type tracing are not among it: libbpf's trial goes by the text of an error, which kernels word differently.

use libbpf_rs::btf::{Btf, types};
use libbpf_rs::{MapType, ProgramType};

/// Something that the kernel has or has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// What it is, as the kernel's documentation calls it.
    pub name: &'static str,
    /// The probes that cannot do without.
    pub probes: &'static [&'static str],
    /// Why it is not there, if it is not.
    pub found: Result<(), String>,
}

/// How a feature is looked for.
enum Trial {
    /// A program of this type, of no instructions but the end, is loaded.
    Program(ProgramType),
    /// A map of this type is made.
    Map(MapType),
    /// A program of this type that calls this function is loaded.
    Helper(ProgramType, libbpf_rs::libbpf_sys::bpf_func_id),
    /// The kernel's BTF describes a tracepoint of this name, whose programs are given its arguments.
    Tracepoint(&'static str),
    /// The kernel's BTF has an iterator of this name.
    Iterator(&'static str),
}

const PACKETS: &[&str] = &["udp", "dns", "http"];

const TRIALS: &[(&str, &[&str], Trial)] = &[
    ("raw tracepoint programs", &["tcp"], Trial::Program(ProgramType::RawTracepoint)),
    ("cgroup_skb programs", PACKETS, Trial::Program(ProgramType::CgroupSkb)),
    ("hash maps", &["tcp", "udp", "dns", "http", "drops"], Trial::Map(MapType::Hash)),
    ("LRU hash maps", PACKETS, Trial::Map(MapType::LruHash)),
    ("socket storage", PACKETS, Trial::Map(MapType::SkStorage)),
    ("ring buffers", PACKETS, Trial::Map(MapType::RingBuf)),
    ("queues", &["udp"], Trial::Map(MapType::Queue)),
    ("bpf_loop", PACKETS, Trial::Helper(ProgramType::CgroupSkb, libbpf_rs::libbpf_sys::BPF_FUNC_loop)),
    ("tracepoint tcp_destroy_sock", &["tcp", "http"], Trial::Tracepoint("tcp_destroy_sock")),
    ("tracepoint inet_sock_set_state", &["tcp"], Trial::Tracepoint("inet_sock_set_state")),
    ("tracepoint tcp_retransmit_synack", &["tcp"], Trial::Tracepoint("tcp_retransmit_synack")),
    ("tracepoint udp_fail_queue_rcv_skb", &["udp"], Trial::Tracepoint("udp_fail_queue_rcv_skb")),
    ("per-CPU hash maps", &["drops"], Trial::Map(MapType::PercpuHash)),
    ("tracepoint kfree_skb", &["drops"], Trial::Tracepoint("kfree_skb")),
    ("iterator task", &["drops"], Trial::Iterator("task")),
    ("tracepoint cgroup_mkdir", &[], Trial::Tracepoint("cgroup_mkdir")),
    ("iterator task_file", &["tcp", "udp", "http"], Trial::Iterator("task_file")),
];

/// Tries all of them. Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: without, nothing is found. Leaves nothing behind.
pub fn features() -> Vec<Feature> {
    let btf = Btf::from_vmlinux().map_err(|error| format!("the kernel's BTF cannot be read: {error}"));
    let feature = |(name, probes, trial): &(&'static str, &'static [&'static str], Trial)| Feature {
        name,
        probes,
        found: attempt(trial, btf.as_ref()),
    };
    TRIALS.iter().map(feature).collect()
}

fn attempt(trial: &Trial, btf: Result<&Btf<'_>, &String>) -> Result<(), String> {
    let refused = |what: &str| format!("the kernel refuses {what}");
    match trial {
        Trial::Program(kind) => told(kind.is_supported(), || refused("a program of this type")),
        Trial::Map(kind) => told(kind.is_supported(), || refused("a map of this type")),
        Trial::Helper(kind, helper) => {
            told(kind.is_helper_supported(*helper), || refused("a program that calls it"))
        }
        Trial::Tracepoint(name) => {
            let described =
                btf.map_err(String::clone)?.type_by_name::<types::Typedef<'_>>(&format!("btf_trace_{name}"));
            described.map(|_| ()).ok_or_else(|| "the kernel's BTF has no such tracepoint".to_owned())
        }
        Trial::Iterator(name) => {
            // What its programs are given: the name of the function is also that of another structure.
            let found =
                btf.map_err(String::clone)?.type_by_name::<types::Struct<'_>>(&format!("bpf_iter__{name}"));
            found.map(|_| ()).ok_or_else(|| "the kernel's BTF has no such iterator".to_owned())
        }
    }
}

fn told(supported: libbpf_rs::Result<bool>, refused: impl FnOnce() -> String) -> Result<(), String> {
    match supported {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused()),
        Err(error) => Err(format!("it cannot be tried: {error}")),
    }
}
