// SPDX-License-Identifier: Apache-2.0
//! Who makes load: `fg-load` in the client's and the API's place. A few requests a second each, so that all of it is a few
//! percent of a core, and every volume is above the least that the alerts ask for.

use anyhow::{Context, Result};

use super::network::{Network, Site};
use crate::dns::resolv::Resolving;
use crate::exporter::beside_test;
use crate::process::Process;

/// A process that makes requests of one kind.
#[derive(Debug)]
pub struct Load {
    /// Who to whom.
    pub what: String,
    process: Process,
    _resolving: Resolving,
}

impl Load {
    pub(super) fn start_all(network: &Network) -> Result<Vec<Self>> {
        let (client, api) = (network.client(), network.api());
        let kinds: [(&Site, &str, &[&str]); 5] = [
            (client, "proxy.shop.internal:80", &["--rate=5", "--path=/page"]),
            (api, "db.shop.internal:5432", &["--rate=0.5", "--requests=20", "--gap=90", "--bytes=3000"]),
            (api, "payments.example:80", &["--rate=3", "--path=/object"]),
            (api, "objects.example:80", &["--rate=2", "--path=/object"]),
            (api, "mail.example:80", &["--rate=1", "--path=/object"]),
        ];
        kinds.into_iter().map(|(from, to, more)| Self::start(network, from, to, more)).collect()
    }

    fn start(network: &Network, from: &Site, to: &str, more: &[&str]) -> Result<Self> {
        let resolving = Resolving::new(network.dns().v4().into(), "options timeout:1 attempts:1")?;
        let mut command = resolving.command(&from.host, beside_test("fg-load")?);
        command.args(["--to", to]).args(more);
        let what = format!("{} to {to}", from.host.workload);
        let process = Process::spawn(&what, &mut command).context("cargo build -p flowgauge-tests --bins")?;
        Ok(Load { what, process, _resolving: resolving })
    }

    /// Requests answered and failed since the start, as it said last; none if it said nothing since it was asked before.
    pub fn counts(&self) -> Option<(u64, u64)> {
        let last = std::iter::from_fn(|| self.process.next_line()).last()?;
        let (answered, failed) = last.split_once(' ')?;
        Some((answered.parse().ok()?, failed.parse().ok()?))
    }
}
