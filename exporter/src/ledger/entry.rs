// SPDX-License-Identifier: Apache-2.0
//! The numbers of one edge.

use std::time::Instant;

use super::dns::DnsPart;
use super::http::HttpPart;
use super::tcp::TcpPart;
use super::udp::UdpPart;
use crate::edge::{LabelValues, Observer};

/// Everything counted about an edge since the start. It has a part for each protocol that was seen on it, and only those are
/// served: an edge of UDP alone is a tenth of one of TCP, in series and in memory.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Label values, in the order of the plan.
    pub labels: LabelValues,
    /// Which end was watched: decides which families it has.
    pub observer: Observer,
    /// Its connections.
    pub tcp: Option<Box<TcpPart>>,
    /// Its datagrams.
    pub udp: Option<Box<UdpPart>>,
    /// Its DNS messages.
    pub dns: Option<Box<DnsPart>>,
    /// Its HTTP requests.
    pub http: Option<Box<HttpPart>>,
    /// When it last grew or had a connection.
    pub last_active: Instant,
    /// When it was first seen.
    pub created: Instant,
    /// How many edges had this place in the ledger before.
    pub tenant: u32,
    /// Whether it is served; an idle edge is not, but keeps its numbers.
    pub exposed: bool,
}

impl Entry {
    /// Nothing counted yet.
    pub fn new(labels: LabelValues, observer: Observer, now: Instant) -> Self {
        Self {
            labels,
            observer,
            tcp: None,
            udp: None,
            dns: None,
            http: None,
            last_active: now,
            created: now,
            tenant: 0,
            exposed: false,
        }
    }

    /// Its connections, of which there were some.
    pub fn tcp(&mut self) -> &mut TcpPart {
        self.tcp.get_or_insert_default()
    }

    /// Its datagrams, of which there were some.
    pub fn udp(&mut self) -> &mut UdpPart {
        self.udp.get_or_insert_default()
    }

    /// Its DNS messages, of which there were some.
    pub fn dns(&mut self) -> &mut DnsPart {
        self.dns.get_or_insert_default()
    }

    /// Its HTTP requests, of which there were some.
    pub fn http(&mut self) -> &mut HttpPart {
        self.http.get_or_insert_default()
    }

    /// Adds all that another edge counted.
    pub fn absorb(&mut self, other: &Entry) {
        if let Some(part) = &other.tcp {
            self.tcp().absorb(part);
        }
        if let Some(part) = &other.udp {
            self.udp().absorb(part);
        }
        if let Some(part) = &other.dns {
            self.dns().absorb(part);
        }
        if let Some(part) = &other.http {
            self.http().absorb(part);
        }
        self.last_active = self.last_active.max(other.last_active);
        self.exposed |= other.exposed;
    }

    /// How many series it is served as, with or without its gauge. Must agree with what `encode` writes; a test holds it to
    /// that.
    pub fn series(&self, gauges: bool) -> usize {
        let tcp = self.tcp.as_ref().map_or(0, |part| part.series(self.observer) - usize::from(!gauges));
        let udp = if self.udp.is_some() { UdpPart::SERIES } else { 0 };
        let dns = self.dns.as_ref().map_or(0, |part| part.series());
        tcp + udp + dns + self.http.as_ref().map_or(0, |part| part.series())
    }
}

/// Adds each value to its sum.
pub fn add<const N: usize, V: Into<u64>>(sums: &mut [u64; N], more: [V; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more.into();
    }
}
