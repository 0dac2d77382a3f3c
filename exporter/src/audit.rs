// SPDX-License-Identifier: Apache-2.0
//! The audit: what flowgauge counted against what the kernel's SNMP counters say, in the same network namespaces and over
//! the same span.
//!
//! One side is what the families grew by (`counted.rs`), the other what `/proc/<pid>/net/snmp` says less what the kernel does
//! without a connection's socket (`balance.rs`). The reader of network namespaces brings the kernel's side of some
//! namespaces, and the pass after it flowgauge's side of the same: only together do they count. What happened in a namespace
//! before both were read for the first time, and after its last reading, counts on neither side.

mod balance;
mod counted;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;

pub use balance::{Mib, SOURCES, Snmp};
pub use counted::{Counted, Own};

use crate::node::{Samples, plain};
use crate::source::Family;
use crate::source::FamilyKind::Gauge;
use balance::{Audited, Balance};

/// The ratio is of a span of once to twice this, or of the time since the start: what was right for a month must not hide
/// what is wrong today.
const SPAN: Duration = Duration::from_secs(300);

static RATIO: Family = plain(
    "audit_ratio",
    Gauge,
    &["counter"],
    "What flowgauge counted of its own counter of that name, over what the kernel's SNMP counters of the same network namespaces say should have been counted, over the last 5 to 10 minutes or since the start: 1 if nothing is missed and nothing is counted twice. Not served while too little happens to tell: fewer than 1000 segments or datagrams, 100 retransmits or connections.",
    "Tcp, TcpExt, Ip, IpExt and Udp of /proc/*/net/snmp, netstat and snmp6",
);
static COUNTED: Family = plain(
    "audit_counted",
    Gauge,
    &["counter"],
    "What flowgauge counted over the span of the ratio in the network namespaces that are audited.",
    "The exporter itself.",
);
static EXPECTED: Family = plain(
    "audit_expected",
    Gauge,
    &["counter"],
    "What the kernel's SNMP counters say should have been counted over the same span in the same network namespaces: their total less what the kernel does without a connection's socket.",
    "Tcp, TcpExt, Ip, IpExt and Udp of /proc/*/net/snmp, netstat and snmp6",
);
static NAMESPACES: Family = plain(
    "audit_namespaces",
    Gauge,
    &[],
    "Network namespaces that are audited: those in which a process lives.",
    "The exporter itself.",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&RATIO, &COUNTED, &EXPECTED, &NAMESPACES];

/// What both sides counted over some time.
#[derive(Debug, Clone, Copy, Default)]
struct Both {
    own: Own,
    snmp: Snmp,
}

impl Both {
    /// None if a counter of the kernel has fallen: these are another namespace's.
    fn since(&self, earlier: &Both) -> Option<Both> {
        let mut grown = *self;
        for (grown, earlier) in grown.own.0.iter_mut().zip(earlier.own.0) {
            *grown = grown.checked_sub(earlier)?;
        }
        for (grown, earlier) in grown.snmp.0.iter_mut().zip(earlier.snmp.0) {
            *grown = grown.checked_sub(earlier)?;
        }
        Some(grown)
    }

    fn add(&mut self, more: &Both) {
        for (sum, more) in self.own.0.iter_mut().zip(more.own.0) {
            *sum += more;
        }
        for (sum, more) in self.snmp.0.iter_mut().zip(more.snmp.0) {
            *sum += more;
        }
    }
}

/// Sums over namespaces.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    all: Both,
    /// Of those that forward nothing: what is merged on the way in is only known to be for their own sockets there.
    ends: Both,
}

impl Sums {
    fn balance(&self, earlier: &Sums, audited: Audited) -> Option<Balance> {
        let (now, then) = match audited {
            Audited::ReceivedSegments => (&self.ends, &earlier.ends),
            _ => (&self.all, &earlier.all),
        };
        now.since(then).map(|grown| audited.balance(&grown.own, &grown.snmp))
    }
}

/// A namespace by a number that is its own as long as it lives.
pub type Id = u64;

struct Namespace {
    netns: u32,
    last: Both,
}

/// The kernel's side of a namespace.
struct Side {
    at: Instant,
    netns: u32,
    snmp: Snmp,
}

#[derive(Default)]
struct Inner {
    /// The kernel's side of namespaces, and when it was read.
    read: HashMap<Id, Side>,
    namespaces: HashMap<Id, Namespace>,
    sums: Sums,
    /// The sums where the span begins, and where the next one will.
    marks: Option<[(Instant, Sums); 2]>,
}

/// Both sides, shared by those who bring them.
#[derive(Default)]
pub struct Audit {
    inner: Mutex<Inner>,
}

impl Audit {
    /// Takes what the kernel counted in a namespace, as it is now.
    pub fn read(&self, id: Id, netns: u32, snmp: Snmp) {
        self.inner.lock().read.insert(id, Side { at: Instant::now(), netns, snmp });
    }

    /// Nobody lives in the namespace any more.
    pub fn forget(&self, id: Id) {
        let mut inner = self.inner.lock();
        inner.read.remove(&id);
        inner.namespaces.remove(&id);
    }

    /// A pass has ended that saw everything: flowgauge's side of the namespaces that were read just before it, from `begun` to
    /// `read_by`. What was read at another time does not go with it: what came between would be on one side only.
    pub fn compare(&self, counted: &Counted, begun: Instant, read_by: Instant) {
        let mut inner = self.inner.lock();
        let Inner { read, namespaces, sums, marks } = &mut *inner;
        for (id, Side { at, netns, snmp }) in read.drain() {
            if at < begun || at > read_by {
                continue;
            }
            let both = Both { own: counted.get(netns), snmp };
            let known = namespaces.get_mut(&id).filter(|known| known.netns == netns);
            // The first time is where its span begins.
            let Some(known) = known else {
                namespaces.insert(id, Namespace { netns, last: both });
                continue;
            };
            if let Some(grown) = both.since(&known.last) {
                sums.all.add(&grown);
                if snmp[Mib::IpForwarded] == 0 {
                    sums.ends.add(&grown);
                }
            }
            known.last = both;
        }
        let [begin, next] = marks.get_or_insert([(read_by, *sums); 2]);
        if read_by.duration_since(next.0) >= SPAN {
            *begin = std::mem::replace(next, (read_by, *sums));
        }
    }

    /// Writes what there is to tell of the collectors that run.
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>, tcp: bool, udp: bool) -> fmt::Result {
        let mut samples = Samples::default();
        let inner = self.inner.lock();
        let namespaces = inner.namespaces.len();
        let balances = inner.balances(tcp, udp);
        drop(inner);
        let enough = |(audited, balance): &(Audited, Balance)| {
            let ratio = balance.counted as f64 / balance.expected as f64;
            (balance.expected >= audited.least()).then_some((audited.name(), ratio))
        };
        samples.each(&RATIO, balances.iter().filter_map(enough));
        let each = |of: fn(&Balance) -> u64| {
            balances.iter().map(move |(audited, balance)| (audited.name(), of(balance) as f64))
        };
        samples.each(&COUNTED, each(|balance| balance.counted));
        samples.each(&EXPECTED, each(|balance| balance.expected));
        samples.one(&NAMESPACES, namespaces as f64);
        samples.encode(encoder)
    }
}

impl Inner {
    fn balances(&self, tcp: bool, udp: bool) -> Vec<(Audited, Balance)> {
        let Some([(_, begin), _]) = &self.marks else { return Vec::new() };
        let wanted = Audited::ALL.into_iter().filter(|audited| if audited.is_tcp() { tcp } else { udp });
        wanted.filter_map(|audited| Some((audited, self.sums.balance(begin, audited)?))).collect()
    }
}

#[cfg(test)]
mod tests;
