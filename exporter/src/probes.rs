// SPDX-License-Identifier: Apache-2.0
//! The probes of this run: each is loaded, or fails, by itself.

use flowgauge_probes::drops::{self, DropOptions, Drops};
use flowgauge_probes::packets::{self, PacketOptions, Packets};
use flowgauge_probes::tcp::{self, ProcessHierarchy, Processes, Tcp, TcpOptions};
use flowgauge_probes::{Error, Facts};

use crate::pass::ProbeState;
use crate::post::{Post, Tag};

/// What is to be loaded, and how.
pub struct ProbePlan {
    /// The TCP probe, if it is wanted.
    pub tcp: Option<TcpOptions>,
    /// The packet probe, if UDP or DNS is wanted.
    pub packets: Option<PacketOptions>,
    /// The drops probe, if it is wanted.
    pub drops: Option<DropOptions>,
    /// The hierarchy whose cgroup ids name processes.
    pub hierarchy: ProcessHierarchy,
}

/// Where the probes' objects are kept; outlives them.
#[derive(Default)]
pub struct Storage {
    tcp: tcp::Storage,
    packets: packets::Storage,
    drops: drops::Storage,
}

/// Those that run.
pub struct Probes<'o> {
    /// TCP.
    pub tcp: Option<Tcp<'o, Tag>>,
    /// UDP and DNS.
    pub packets: Option<Packets<'o, Tag>>,
    /// Dropped packets.
    pub drops: Option<Drops<'o>>,
}

impl<'o> Probes<'o> {
    /// Loads what the plan wants. Why something could not be loaded is in `state` afterwards, and in the log.
    pub fn load(storage: &'o mut Storage, plan: &ProbePlan, state: &mut ProbeState) -> Self {
        let tcp = plan.tcp.as_ref().map(|options| {
            let facts = Facts::read()?;
            Tcp::load(&mut storage.tcp, &facts, options)
        });
        let packets =
            plan.packets.as_ref().map(|options| Packets::load(&mut storage.packets, options.clone()));
        let tcp = running("tcp", tcp, &mut state.tcp_failed);
        let openers = tcp.as_ref().map(Tcp::openers);
        let drops = plan.drops.as_ref().map(|options| Drops::load(&mut storage.drops, options, openers));
        Self {
            packets: running("packets", packets, &mut state.packets_failed),
            drops: running("drops", drops, &mut state.drops_failed),
            tcp,
        }
    }

    /// Takes over what was dropped.
    ///
    /// # Errors
    /// As [`Drops::take`]; what was taken is entered whatever else fails.
    pub fn take_drops(&mut self, post: &mut Post<'_>) -> Result<(), Error> {
        let Some(probe) = &mut self.drops else { return Ok(()) };
        let all = probe.take()?;
        if all.is_empty() {
            return Ok(());
        }
        let looked = probe.look_for_holders(&all);
        // Afterwards, for those behind what was taken.
        let learned = self.tcp.as_mut().map_or(Ok(()), Tcp::learn_processes);
        let nobody = Processes::default();
        let processes = self.tcp.as_ref().map_or(&nobody, Tcp::processes);
        for dropped in &all {
            post.dropped(dropped, probe.holders(), processes);
        }
        looked.and(learned)
    }

    /// Flow keys that the TCP probe holds.
    pub fn tcp_keys(&self) -> usize {
        self.tcp.as_ref().map_or(0, Tcp::keys)
    }
}

fn running<P>(
    probe: &'static str,
    loaded: Option<Result<P, Error>>,
    failed: &mut Option<String>,
) -> Option<P> {
    match loaded? {
        Ok(running) => Some(running),
        Err(error) => {
            tracing::error!(probe, %error, "cannot be loaded");
            *failed = Some(error.to_string());
            None
        }
    }
}
