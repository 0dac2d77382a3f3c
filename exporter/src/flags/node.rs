// SPDX-License-Identifier: Apache-2.0
//! `--node.…`: what is served of the node.

use std::str::FromStr;

use clap::Args;

/// Interfaces of pods, by what network plugins call the host's end: the kernel's own naming, Calico, Cilium and LXC, the
/// plugins of Amazon, Google and Azure, and virtual machines.
const OF_PODS: &str = "veth*,cali*,lxc*,eni*,gke*,azv*,tap*";

/// What is served of the node.
#[derive(Args, Clone, Debug)]
pub struct NodeFlags {
    /// Network interfaces to leave out, a comma list of names in which `*` stands for any text; by default those of pods.
    #[arg(
        long = "node.interfaces-exclude",
        env = "FLOWGAUGE_NODE_INTERFACES_EXCLUDE",
        value_name = "NAMES",
        default_value = OF_PODS,
        global = true
    )]
    pub interfaces_exclude: InterfacePatterns,
}

/// Names of interfaces in which `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePatterns(Vec<String>);

impl InterfacePatterns {
    /// Whether one of them is the interface's name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl FromStr for InterfacePatterns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match names.iter().find(|name| name.contains(|c: char| c.is_whitespace() || c == '/')) {
            Some(name) => Err(format!("{name}: no interface has such a name")),
            None => Ok(Self(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InterfacePatterns, OF_PODS, matches};

    fn patterns(text: &str) -> Result<InterfacePatterns, String> {
        text.parse()
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, expected) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("veth*", "veth12ab", true),
            ("veth*", "veth", true),
            ("veth*", "eth0", false),
            ("*.100", "bond0.100", true),
            ("*.100", "bond0.1001", false),
            ("e*0*1", "eth0s1", true),
            ("e*0*1", "eth1", false),
            ("e*0*0", "eth0", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn pods_are_left_out_and_cards_are_not() {
        let of_pods = patterns(OF_PODS).unwrap();
        for name in ["vethf3a1", "cali12ab34cd", "lxc_health", "eni5f2b", "gke0a1b2c3d4", "azv1a2b", "tap0"] {
            assert!(of_pods.matches(name), "{name}");
        }
        for name in ["lo", "eth0", "ens5", "enp0s3", "bond0", "cni0", "docker0", "wlan0", "ib0", "flannel.1"]
        {
            assert!(!of_pods.matches(name), "{name}");
        }
        assert!(!patterns(" , ").unwrap().matches("veth0"));
        assert!(patterns("eth0,a b").unwrap_err().starts_with("a b:"));
    }
}
