// SPDX-License-Identifier: Apache-2.0
//! What the packet programs cost and what they missed.

use std::os::fd::AsFd;

use libbpf_rs::MapCore;

use super::Packets;
use crate::maps::read;
use crate::programs::{cost, recursion_misses};
use crate::{MapUse, ProgramUse};

/// Why something was not counted or not handed out, in the order of [`Health::lost`].
pub const LOST_REASONS: [&str; 12] = [
    "packet_process_names_full",
    "packet_socket_memory",
    "udp_flows_full",
    "dns_flows_full",
    "dns_queries_full",
    "dns_samples_full",
    "dns_stream_gap",
    "http_flows_full",
    "http_pipeline_full",
    "http_malformed",
    "http_stream_gap",
    "http2_frames_full",
];

/// What went wrong in the kernel so far, and how full things are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// In the order of [`LOST_REASONS`].
    pub lost: [u64; LOST_REASONS.len()],
    /// Payload bytes of datagrams whose flow found no room.
    pub lost_udp_bytes: u64,
    /// Keys and records that could not be decoded (a bug, if ever).
    pub undecodable: u64,
    /// Cost and misses of each program. Packets that leave at once are no runs.
    pub programs: Vec<ProgramUse>,
    /// Use of each map.
    pub maps: Vec<MapUse>,
}

impl<T: Default> Packets<'_, T> {
    /// What went wrong so far, and what it cost.
    pub fn health(&self) -> Health {
        let mut health =
            Health { undecodable: self.undecodable + self.flows.undecodable, ..Health::default() };
        let mut waiting = 0;
        if let Some(bss) = self.bss() {
            for (lost, counted) in health.lost.iter_mut().zip(&bss.fg_lost) {
                *lost = read(counted);
            }
            health.lost_udp_bytes = read(&bss.fg_udp_lost_bytes);
            waiting = read(&bss.fg_dns_waiting);
        }
        let (maps, programs) = (&self.skeleton.maps, &self.skeleton.progs);
        let used = [
            ("packet_out", programs.packet_out.as_fd()),
            ("packet_in", programs.packet_in.as_fd()),
            ("udp_drop", programs.udp_drop.as_fd()),
        ];
        for (index, (program, fd)) in used.into_iter().enumerate() {
            let (runs, timed_ns) = cost(&maps.costs, index as u32);
            let recursion_misses = recursion_misses(fd);
            health.programs.push(ProgramUse { program, runs, run_ns: timed_ns * 64, recursion_misses });
        }
        let (flows, slots) = self.flows.usage();
        let (pending, capacity) = self.dns_pending();
        let (http, http_capacity) = self.http_pending();
        health.maps = vec![
            MapUse { map: "udp_flows", entries: flows, capacity: slots },
            MapUse { map: "dns_flows", entries: pending, capacity },
            MapUse {
                map: "dns_queries",
                entries: waiting,
                capacity: u64::from(maps.dns_queries.max_entries()),
            },
            MapUse { map: "http_flows", entries: http, capacity: http_capacity },
        ];
        health
    }

    /// DNS flows that wait in the kernel, and how many fit.
    pub(super) fn dns_pending(&self) -> (u64, u64) {
        let pending = self.bss().map_or(0, |bss| read(&bss.fg_dns_pending));
        (pending, u64::from(self.skeleton.maps.dns_a.max_entries()))
    }

    /// The same for HTTP flows by method and code.
    pub(super) fn http_pending(&self) -> (u64, u64) {
        let pending = self.bss().map_or(0, |bss| read(&bss.fg_http_pending));
        (pending, u64::from(self.skeleton.maps.http_a.max_entries()))
    }

    /// UDP flows that came since the last pass.
    pub(super) fn flows_unread(&self) -> u64 {
        self.bss().map_or(0, |bss| read(&bss.fg_udp_assigned)) - self.flows.assigned()
    }
}
