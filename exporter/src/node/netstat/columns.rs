// SPDX-License-Identifier: Apache-2.0
//! Reading `net/snmp` and `net/netstat`: for each protocol a line of names and one of values.
//!
//! A kernel writes the same names for every namespace, so they are looked up once.

use super::families::{Counts, places};
use crate::audit::{Mib, Snmp};

/// Where a counter of the kernel goes. Several may be added up in one place, and one may have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A family, by its number.
    Family(usize),
    /// The audit.
    Audit(Mib),
}

/// What one namespace counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// For the families.
    pub counts: Counts,
    /// For the audit.
    pub snmp: Snmp,
}

impl Reading {
    fn add(&mut self, place: Place, value: u64) {
        let sum = match place {
            Place::Family(at) => self.counts.get_mut(at),
            Place::Audit(mib) => Some(&mut self.snmp[mib]),
        };
        if let Some(sum) = sum {
            *sum = sum.wrapping_add(value);
        }
    }
}

/// A line of names, and which of them are wanted.
struct Names {
    line: String,
    wanted: Vec<(usize, Place)>,
}

impl Names {
    fn of(line: &str) -> Self {
        let (protocol, names) = line.split_once(':').unwrap_or((line, ""));
        let columns = names.split_ascii_whitespace().enumerate();
        let wanted = columns.flat_map(|(at, name)| places(protocol, name).map(move |place| (at, place)));
        Self { line: line.to_owned(), wanted: wanted.collect() }
    }
}

/// The names of one file, as it was read last.
#[derive(Default)]
pub struct Columns(Vec<Names>);

impl Columns {
    /// Adds what a file tells. Lines that do not go together end it.
    pub fn read(&mut self, text: &str, reading: &mut Reading) {
        let mut lines = text.lines();
        for at in 0.. {
            let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return };
            let (Some((protocol, _)), Some((same, values))) = (names.split_once(':'), values.split_once(':'))
            else {
                return;
            };
            if protocol != same {
                return;
            }
            if self.0.get(at).is_none_or(|known| known.line != names) {
                self.0.truncate(at);
                self.0.push(Names::of(names));
            }
            let mut values = values.split_ascii_whitespace().enumerate();
            let mut current = values.next();
            for (column, place) in &self.0[at].wanted {
                while current.is_some_and(|(at, _)| at < *column) {
                    current = values.next();
                }
                // A counter below nothing is no counter (`MaxConn -1` of Tcp).
                if let Some(value) = current.and_then(|(_, value)| value.parse().ok()) {
                    reading.add(*place, value);
                }
            }
        }
    }
}

/// Adds what `net/snmp6` tells: a line for each counter, its name beginning with the protocol's.
pub fn add_lines(text: &str, reading: &mut Reading) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        if value == "0" {
            continue;
        }
        for protocol in ["Ip6", "Udp6"] {
            let (Some(name), Ok(value)) = (name.strip_prefix(protocol), value.parse()) else { continue };
            places(protocol, name).for_each(|place| reading.add(place, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, Reading, add_lines};
    use crate::audit::{Mib, Snmp};
    use crate::node::netstat::families::{COUNT, FAMILIES};

    fn read(texts: &[&str]) -> Reading {
        let mut reading = Reading::default();
        for text in texts {
            Columns::default().read(text, &mut reading);
        }
        reading
    }

    #[test]
    fn both_formats_are_added_up() {
        let mut reading = read(&[
            "TcpExt: Other ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 9 1 8 2\nIpExt: InNoRoutes InNoECTPkts\nIpExt: 3 4\nMPTcpExt: ListenDrops\nMPTcpExt: 9\n",
            "Ip: Forwarding OutNoRoutes\nIp: 1 4\nTcp: MaxConn InSegs\nTcp: -1 6\nUdp: RcvbufErrors\nUdp: 5\n",
        ]);
        add_lines(
            "Ip6InNoRoutes                   \t6\nUdp6RcvbufErrors                \t7\nUdpLite6RcvbufErrors 9\nIp6InNoECTPkts 5\n",
            &mut reading,
        );
        let expected = [(0, 1), (1, 8), (12, 2), (13, 12), (17, 13)];
        for (place, count) in reading.counts.into_iter().enumerate() {
            let expected = expected.iter().find(|(of, _)| *of == place).map_or(0, |(_, count)| *count);
            assert_eq!(count, expected, "{}", FAMILIES[place].name);
        }
        let mut snmp = Snmp::default();
        for (mib, value) in [(Mib::ListenDrops, 8), (Mib::TcpInSegs, 6), (Mib::IpInMarks, 9)] {
            snmp[mib] = value;
        }
        assert_eq!(reading.snmp, snmp);
    }

    #[test]
    fn names_are_looked_up_again_when_they_change() {
        let mut columns = Columns::default();
        let mut drops = |text: &str| {
            let mut reading = Reading::default();
            columns.read(text, &mut reading);
            reading.counts[1]
        };
        assert_eq!(drops("TcpExt: A ListenDrops\nTcpExt: 1 2\nUdp: A\nUdp: 1\n"), 2);
        assert_eq!(drops("TcpExt: A ListenDrops\nTcpExt: 1 3\n"), 3);
        assert_eq!(drops("TcpExt: ListenDrops A\nTcpExt: 4 1\n"), 4);
        assert_eq!(drops("Udp: A\nUdp: 1\nTcpExt: A ListenDrops\nTcpExt: 1 5\n"), 5);
    }

    #[test]
    fn odd_text_counts_nothing() {
        for text in [
            "",
            "TcpExt",
            "TcpExt:",
            "TcpExt: ListenDrops",
            "TcpExt: ListenDrops\nIp: 5\n",
            "TcpExt: ListenDrops\nTcpExt: x\n",
            "TcpExt: A ListenDrops\nTcpExt: 1\n",
            "TcpExt: ListenDrops\nTcpExt: 99999999999999999999999\n",
            "\n\n",
        ] {
            let mut reading = read(&[text]);
            add_lines(text, &mut reading);
            assert_eq!(reading.counts, [0; COUNT], "{text:?}");
            assert_eq!(reading.snmp, Snmp::default(), "{text:?}");
        }
    }
}
