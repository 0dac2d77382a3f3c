// SPDX-License-Identifier: Apache-2.0
//! The netlink messages about queueing disciplines (linux/rtnetlink.h, linux/pkt_sched.h, linux/gen_stats.h).

use std::collections::HashMap;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `TC_H_ROOT`.
const ROOT: u32 = u32::MAX;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// Flags in the type of an attribute.
const TYPE: u16 = 0x3fff;

const HEADER: usize = 16;
/// `struct tcmsg`.
const TCMSG: usize = 20;

/// A dump of all: a header, and a `tcmsg` of zeros.
pub const REQUEST: [u8; HEADER + TCMSG] = {
    let mut request = [0; HEADER + TCMSG];
    request[0] = (HEADER + TCMSG) as u8;
    [request[4], request[5]] = RTM_GETQDISC.to_ne_bytes();
    [request[6], request[7]] = DUMP.to_ne_bytes();
    if cfg!(target_endian = "big") {
        (request[0], request[3]) = (0, (HEADER + TCMSG) as u8);
    }
    request
};

/// What a queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Bytes that wait.
    pub backlog: u32,
    /// Packets dropped.
    pub drops: u32,
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Others follow.
    More,
    /// The end.
    Last,
    /// The kernel refused, with this error.
    Refused(i32),
    /// Not to be understood.
    Odd,
}

/// Adds the root queues in a datagram, by the index of their interface.
pub fn decode(mut datagram: &[u8], queues: &mut HashMap<u32, Queue>) -> Part {
    while !datagram.is_empty() {
        let Some(length) = word(datagram, 0).map(|length| length as usize) else { return Part::Odd };
        let Some(message) = datagram.get(..length).filter(|_| length >= HEADER) else { return Part::Odd };
        match half(message, 4) {
            Some(NLMSG_DONE) => return Part::Last,
            Some(NLMSG_ERROR) => {
                let error = word(message, HEADER).map(|error| (error as i32).wrapping_neg());
                return error.map_or(Part::Odd, Part::Refused);
            }
            Some(RTM_NEWQDISC) => {
                let (index, parent) = (word(message, HEADER + 4), word(message, HEADER + 12));
                let queue = message.get(HEADER + TCMSG..).and_then(queue);
                if let (Some(index), Some(ROOT), Some(queue)) = (index, parent, queue) {
                    queues.insert(index, queue);
                }
            }
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Part::More
}

fn queue(attributes: &[u8]) -> Option<Queue> {
    let queue = attribute(attribute(attributes, TCA_STATS2)?, TCA_STATS_QUEUE)?;
    // struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits.
    Some(Queue { backlog: word(queue, 4)?, drops: word(queue, 8)? })
}

/// The value of the first attribute of a type.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(half(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if half(attributes, 2)? & TYPE == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{
        DUMP, NLMSG_DONE, NLMSG_ERROR, Part, Queue, REQUEST, ROOT, RTM_GETQDISC, RTM_NEWQDISC, decode,
    };

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = 16 + body.len() as u32;
        let mut message = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        let mut attribute = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    }

    fn qdisc(index: u32, parent: u32, backlog: u32, drops: u32) -> Vec<u8> {
        let words: Vec<u8> =
            [9, backlog, drops, 9, 9].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let stats = [attribute(1, &[0; 16]), attribute(3, &words)].concat();
        let tcmsg: Vec<u8> =
            [0, index, 0, parent, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        message(RTM_NEWQDISC, &[tcmsg, attribute(1, b"tbf\0"), attribute(0x8007, &stats)].concat())
    }

    #[test]
    fn the_request_is_a_dump() {
        assert_eq!(REQUEST[..4], 36_u32.to_ne_bytes());
        assert_eq!(REQUEST[4..8], [RTM_GETQDISC.to_ne_bytes(), DUMP.to_ne_bytes()].concat());
    }

    #[test]
    fn root_queues_are_told() {
        let mut queues = HashMap::new();
        let datagram = [qdisc(2, ROOT, 3, 4), qdisc(2, 0x10000, 5, 6), qdisc(7, ROOT, 0, u32::MAX)].concat();
        assert_eq!(decode(&datagram, &mut queues), Part::More);
        let expected = [(2, Queue { backlog: 3, drops: 4 }), (7, Queue { backlog: 0, drops: u32::MAX })];
        assert_eq!(queues, expected.into());
        assert_eq!(decode(&message(NLMSG_DONE, &[0; 4]), &mut queues), Part::Last);
        assert_eq!(decode(&message(NLMSG_ERROR, &(-1_i32).to_ne_bytes()), &mut queues), Part::Refused(1));
    }

    #[test]
    fn what_is_cut_short_does_not_panic() {
        let whole = qdisc(2, ROOT, 3, 4);
        for length in 0..whole.len() {
            let mut queues = HashMap::new();
            let expected = if length == 0 { Part::More } else { Part::Odd };
            assert_eq!(decode(&whole[..length], &mut queues), expected, "{length}");
            // A message that says that it is that short.
            let mut short = whole.clone();
            short[..4].copy_from_slice(&(length as u32).to_ne_bytes());
            decode(&short, &mut queues);
            let mut odd = whole.clone();
            odd[length] ^= 0xff;
            decode(&odd, &mut queues);
        }
    }
}
