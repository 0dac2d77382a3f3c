// SPDX-License-Identifier: Apache-2.0
//! Is it all of this provider's addresses, or three of them?

use super::counts::{Counts, at};
use super::query::{By, Query};
use super::store::Flows;

/// What is shared out among addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Payload bytes.
    Bytes,
    /// Retransmitted segments.
    Retransmits,
    /// Failed attempts to connect.
    ConnectFailures,
    /// DNS, HTTP and gRPC errors.
    Errors,
}

impl Measure {
    const ALL: [Measure; 4] =
        [Measure::Bytes, Measure::Retransmits, Measure::ConnectFailures, Measure::Errors];

    fn of(self, counts: &Counts) -> u64 {
        match self {
            Measure::Bytes => counts.bytes(),
            Measure::Retransmits => counts.get(at::RETRANSMITTED),
            Measure::ConnectFailures => counts.connect_failures(),
            Measure::Errors => counts.errors() - counts.connect_failures(),
        }
    }
}

/// How a measure is shared out among the addresses asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// What.
    pub measure: Measure,
    /// All of it.
    pub total: u64,
    /// Addresses asked for.
    pub addresses: usize,
    /// The few of them that have most of it: as many as make up [`MOST`].
    pub few: usize,
    /// Their share of it.
    pub theirs: f64,
    /// Their share of all bytes.
    pub of_bytes: f64,
    /// Retransmitted segments in those sent: theirs, and all others'. None without any sent.
    pub ratios: (Option<f64>, Option<f64>),
}

/// What counts as most of something.
const MOST: f64 = 0.9;

/// What is kept of each address.
struct Part {
    values: [u64; Measure::ALL.len()],
    sent: u64,
}

impl Flows {
    /// How each measure of which there is something is shared out. Nothing if there are no two addresses.
    pub(super) fn shares(&self, query: &Query) -> Vec<Share> {
        if !query.shares || query.by != By::Address {
            return Vec::new();
        }
        let mut parts = Vec::new();
        self.each_matching(query, |_, _, counts| {
            let values = Measure::ALL.map(|measure| measure.of(&counts));
            parts.push(Part { values, sent: counts.get(at::SENT_SEGMENTS) });
        });
        if parts.len() < 2 {
            return Vec::new();
        }
        (0..Measure::ALL.len()).filter_map(|which| share(which, &mut parts)).collect()
    }
}

fn share(which: usize, parts: &mut [Part]) -> Option<Share> {
    let total = |which: usize, parts: &[Part]| parts.iter().map(|part| part.values[which]).sum::<u64>();
    let all = total(which, parts);
    if all == 0 {
        return None;
    }
    // Of those that have as much of it, the busier one is less to blame.
    parts.sort_unstable_by_key(|part| (std::cmp::Reverse(part.values[which]), part.values[0]));
    let mut few = 0;
    let mut sum = 0;
    while (sum as f64) < MOST * all as f64 {
        sum += parts.get(few)?.values[which];
        few += 1;
    }
    let (theirs, others) = parts.split_at(few);
    let part_of = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let ratio = |parts: &[Part]| {
        let sent: u64 = parts.iter().map(|part| part.sent).sum();
        (sent > 0).then(|| total(1, parts) as f64 / sent as f64)
    };
    Some(Share {
        measure: Measure::ALL[which],
        total: all,
        addresses: parts.len(),
        few,
        theirs: part_of(sum, all),
        of_bytes: part_of(total(0, theirs), total(0, parts)),
        ratios: (ratio(theirs), ratio(others)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(values: &[[u64; 4]]) -> Vec<Part> {
        values.iter().map(|values| Part { values: *values, sent: 1000 }).collect()
    }

    #[test]
    fn three_of_forty() {
        let mut all = vec![[1000, 0, 0, 0]; 37];
        all.extend([[900, 30, 0, 0], [900, 40, 0, 0], [900, 28, 2, 0]]);
        all[0][1] = 2;
        let mut parts = parts(&all);
        let found = share(1, &mut parts).unwrap();
        assert_eq!((found.total, found.addresses, found.few), (100, 40, 3));
        assert!((found.theirs - 0.98).abs() < 1e-9);
        assert!((found.of_bytes - 2700.0 / 39700.0).abs() < 1e-9);
        assert_eq!(found.ratios, (Some(98.0 / 3000.0), Some(2.0 / 37000.0)));
        assert_eq!(share(2, &mut parts).unwrap().few, 1);
        assert_eq!(share(3, &mut parts), None);
    }

    #[test]
    fn all_alike() {
        let found = share(1, &mut parts(&[[10, 5, 0, 0]; 20])).unwrap();
        assert_eq!((found.few, found.addresses), (18, 20));
        assert!((found.theirs - 0.9).abs() < 1e-9 && (found.of_bytes - 0.9).abs() < 1e-9);
    }
}
