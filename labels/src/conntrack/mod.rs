// SPDX-License-Identifier: Apache-2.0
//! Where NAT sent a connection: the backend behind a Service's address, as the host's conntrack table has it.
//!
//! kube-proxy and its like translate the address that a client dialled before the connection leaves the node. The kernel
//! tells of every new entry of its conntrack table by ctnetlink; the socket's filter keeps all but TCP connections with a
//! translated destination away ([`filter`]). Connections older than this are listed once, and again whenever events
//! were lost. Entries are remembered when they have gone from the kernel, as a connection is asked for when it is over,
//! until somebody has asked or 131,072 newer ones have pushed them out.
//!
//! To listen costs the kernel 2 µs for each new entry of its table, translated or not, because it composes the event before
//! any filter sees it; an event that is let through costs 1.3 µs more to read (`cargo bench --bench conntrack`).
//!
//! Nothing here has a thread of its own or ever waits: events wait in the socket, and are read by [`Conntrack::drain`].
//!
//! Needs: CAP_NET_ADMIN over the host's network namespace, once to listen and whenever the table is listed;
//! CAP_SYS_ADMIN and CAP_SYS_PTRACE to enter that namespace, once, if this runs in another.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::host::Host;
use self::link::{Link, STEP};
use crate::ranges::canonical;
use crate::status::SourceStatus;

mod filter;
mod host;
mod link;
mod message;
mod socket;
mod table;

/// The backends of translated connections, by what their clients dialled.
pub struct Conntrack {
    digest: fn(IpAddr) -> u64,
    link: Mutex<Link>,
}

impl Conntrack {
    /// Starts to listen in the host's network namespace, that of the first process below `procfs`, and to list the table.
    /// `digest` is what clients' addresses are known by to whoever asks; it is called with canonical addresses, never
    /// with IPv4 inside IPv6.
    ///
    /// What the host lacks is no error: [`Self::status`] tells, and [`Self::refresh`] tries again.
    pub fn open(procfs: &Path, digest: fn(IpAddr) -> u64) -> Conntrack {
        let mut link = Link::new(Host::new(procfs));
        link.connect(Instant::now());
        Conntrack { digest, link: Mutex::new(link) }
    }

    /// Where a connection of a client on this node really went: address and port of the backend. None if the
    /// destination was not translated, or nothing is known of it, or it was asked for before: each answer is given once, so that a later
    /// connection from the same port has none but its own.
    ///
    /// `source_digest` and `source_port` are the client's, `dialled` is what it connected to. An established connection is
    /// known after the next [`Self::drain`].
    pub fn take(
        &self,
        source_digest: u64,
        source_port: u16,
        dialled: (IpAddr, u16),
    ) -> Option<(IpAddr, u16)> {
        let dialled = (canonical(dialled.0), dialled.1);
        self.link.lock().table.take(source_digest, source_port, dialled)
    }

    /// Reads what the kernel has told, and goes on with listing the table. Never waits; ends after about 20 ms even if
    /// there is more. To be called at each pass and every 100 ms to 1 s, so that the socket's queue, of some 20,000
    /// connections, does not overrun.
    pub fn drain(&self) {
        self.link.lock().drain(self.digest, STEP);
    }

    /// Drains until the table is listed and all events are read, or `limit` is over: for the first pass, which would name
    /// connections older than the exporter wrongly without. 50,000 translated entries take 0.07 s, 50,000 others 0.01 s.
    pub fn settle(&self, limit: Duration) {
        let start = Instant::now();
        let mut link = self.link.lock();
        while let Some(left) = limit.checked_sub(start.elapsed())
            && link.drain(self.digest, left.min(STEP))
        {}
    }

    /// Drains, and every 60 s tries again what the host refused or lacked. To be called every second or so.
    pub fn refresh(&self) {
        let mut link = self.link.lock();
        link.retry(Instant::now());
        link.drain(self.digest, STEP);
    }

    /// How often connections began unseen because the socket's queue was full. Each time the table is listed anew; what
    /// is lost for good are connections that began and ended in between.
    pub fn lost(&self) -> u64 {
        self.link.lock().overruns
    }

    /// Events that the kernel has handed over: new TCP connections with a translated destination.
    pub fn events(&self) -> u64 {
        self.link.lock().events
    }

    /// How this source, `conntrack`, is doing. `entries`: connections known; `reloads`: complete listings of the table.
    pub fn status(&self) -> SourceStatus {
        self.link.lock().status()
    }
}

impl fmt::Debug for Conntrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conntrack").field("status", &self.status()).finish_non_exhaustive()
    }
}
