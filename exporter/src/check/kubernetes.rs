// SPDX-License-Identifier: Apache-2.0
//! Whether the cluster tells what its names are made of.

use super::Item;
use crate::flags::{Flags, KubernetesMode};
use crate::kubernetes;

const ROLE: &str = "grant list and watch of pods, services, nodes and endpointslices.discovery.k8s.io, and get of nodes, as in \
                    contrib/kubernetes/flowgauge.yaml; without it only these names are missing";
const REACH: &str = "mend the server's address, its certificate authority or the token, whichever it names; a certificate that is its own \
                     authority is not accepted for a server";
const WITHOUT: &str = "run in a pod with a service account, or mend the kubeconfig; --labels.kubernetes=off runs the exporter without names \
                       from a cluster";

/// The API and each request that the watches make, which take a role each.
pub fn items(flags: &Flags) -> Vec<Item> {
    let required = flags.kubernetes.mode == KubernetesMode::Required;
    let wrong = if required { Item::fail } else { Item::warn };
    let connection = match kubernetes::connection(flags) {
        Ok(Some(connection)) => connection,
        Ok(None) if flags.kubernetes.mode == KubernetesMode::Off => {
            return vec![Item::ok("kubernetes", "switched off by --labels.kubernetes=off")];
        }
        Ok(None) => {
            return vec![Item::ok("kubernetes", "not in a cluster: no service account, no kubeconfig")];
        }
        // Nothing is started with a kubeconfig that a flag names and that cannot be used.
        Err(error) if flags.kubernetes.kubeconfig.is_some() => {
            return vec![Item::fail("kubernetes", format!("{error:#}"), WITHOUT)];
        }
        Err(error) => return vec![wrong("kubernetes", format!("{error:#}"), WITHOUT.to_owned())],
    };
    let node = match kubernetes::node(flags) {
        Ok(node) => node,
        Err(error) => return vec![wrong("kubernetes", error.to_string(), "set NODE_NAME".to_owned())],
    };
    let findings = flowgauge_labels::kubernetes::probe(connection, &node);
    let items = findings.into_iter().map(|(what, finding)| match finding {
        Ok(finding) => Item::ok(&what, finding),
        Err(reason) if reason.contains("forbidden") => wrong(&what, reason, ROLE.to_owned()),
        Err(reason) => wrong(&what, reason, REACH.to_owned()),
    });
    items.collect()
}
