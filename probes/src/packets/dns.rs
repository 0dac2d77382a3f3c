// SPDX-License-Identifier: Apache-2.0
//! DNS messages by flow, and the queries that nobody answered (`bpf/dns.h`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::{DNS_BUCKETS, DnsCounts, QTYPES, RCODES};
use crate::FlowKey;
use crate::maps::Plain;
use crate::skeleton::packets::types::{fg_dns, fg_dns_id, fg_dns_query, fg_key};

/// How long a key is kept that has no messages.
const IDLE: Duration = Duration::from_secs(300);

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for fg_dns {}
// SAFETY: as above.
unsafe impl Plain for fg_dns_id {}
// SAFETY: as above.
unsafe impl Plain for fg_dns_query {}
// SAFETY: as above.
unsafe impl Plain for fg_key {}

const _: () = assert!(QTYPES.len() == 18 && RCODES.len() == 14 && DNS_BUCKETS == 18);

/// What the sink keeps with each key.
pub(super) struct Tags<T>(HashMap<FlowKey, (T, Instant), RandomState>);

impl<T: Default> Tags<T> {
    pub(super) fn new() -> Self {
        Self(HashMap::default())
    }

    pub(super) fn of(&mut self, key: &FlowKey, now: Instant) -> &mut T {
        let (tag, seen) = self.0.entry(*key).or_insert_with(|| (T::default(), now));
        *seen = now;
        tag
    }

    /// Forgets those without messages for long.
    pub(super) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (_, seen)| now.duration_since(*seen) < IDLE);
    }
}

/// The kernel's sums as counts.
pub(super) fn counts_of(sums: &fg_dns) -> DnsCounts {
    DnsCounts {
        queries: sums.queries.map(u64::from),
        responses: sums.responses.map(u64::from),
        retransmits: sums.retransmits.into(),
        timeouts: sums.timeouts.into(),
        late: sums.late.into(),
        unsolicited: sums.unsolicited.into(),
        truncated: sums.truncated.into(),
        tcp_queries: sums.tcp_queries.into(),
        malformed: sums.malformed.into(),
        durations: sums.durations.map(u64::from),
        duration_sum: sums.duration_sum,
    }
}

/// What becomes of a query that still waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may be answered yet.
    Waits,
    /// It has timed out just now.
    TimesOut,
    /// It timed out so long ago that no answer will come.
    IsOver,
}

/// How long a query that has timed out is kept to know a late answer.
const LATE: Duration = Duration::from_secs(30);

/// `now` is of the clock that the programs read. `crowded`: there is no room for queries that have timed out.
pub(super) fn fate_of(query: &fg_dns_query, now: u64, timeout: Duration, crowded: bool) -> Fate {
    let age = Duration::from_nanos(now.saturating_sub(query.time));
    if query.timed_out == 0 {
        if age >= timeout { Fate::TimesOut } else { Fate::Waits }
    } else if crowded || age >= timeout + LATE {
        Fate::IsOver
    } else {
        Fate::Waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_times_out_once_and_is_forgotten_later() {
        let second = |seconds: u64| seconds * 1_000_000_000;
        let timeout = Duration::from_secs(5);
        let query = |timed_out| fg_dns_query { time: second(100), timed_out, ..Default::default() };
        let fate = |timed_out, now, crowded| fate_of(&query(timed_out), second(now), timeout, crowded);
        assert_eq!(fate(0, 104, false), Fate::Waits);
        assert_eq!(fate(0, 104, true), Fate::Waits);
        assert_eq!(fate(0, 105, false), Fate::TimesOut);
        assert_eq!(fate(0, 99, false), Fate::Waits, "another CPU's clock is a little ahead");
        assert_eq!(fate(1, 106, false), Fate::Waits);
        assert_eq!(fate(1, 106, true), Fate::IsOver);
        assert_eq!(fate(1, 135, false), Fate::IsOver);
    }
}
