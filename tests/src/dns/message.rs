// SPDX-License-Identifier: Apache-2.0
//! DNS messages as the purpose-made client and server write and read them (RFC 1035, 4; RFC 6891 for OPT).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of query by name and number.
pub const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("DNSKEY", 48),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("ANY", 255),
    ("CAA", 257),
];

/// `OPT`, which carries the upper bits of the rcode.
const OPT: u16 = 41;

/// A type's number; `TYPE1234` works too.
pub fn type_number(name: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| name.strip_prefix("TYPE")?.parse().ok())
}

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Id.
    pub id: u16,
    /// Name without final dot.
    pub name: String,
    /// Type.
    pub qtype: u16,
    /// Whether it has an OPT record.
    pub edns: bool,
}

/// What is said in answer to a query.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Rcode; above 15 it takes an OPT record.
    pub rcode: u16,
    /// TC.
    pub truncated: bool,
    /// Records: owner, TTL, data.
    pub records: Vec<(String, u32, Data)>,
}

/// Data of a record.
#[derive(Debug, Clone)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME.
    Alias(String),
}

/// What the client reads of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Id.
    pub id: u16,
    /// Rcode, extended by OPT.
    pub rcode: u16,
    /// TC.
    pub truncated: bool,
    /// Number of answer records.
    pub answers: u16,
}

impl Query {
    /// As it goes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = header(self.id, 0x0100, [1, 0, 0, self.edns.into()]);
        self.question(&mut message);
        if self.edns {
            opt(&mut message, 0);
        }
        message
    }

    /// From the wire; none for anything but a query with one question.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let [id, flags, questions, ..] = words::<6>(message)?;
        let (name, end) = name(message, 12)?;
        let qtype = word(message, end)?;
        let edns = word(message, 10)? > 0;
        (flags & 0x8000 == 0 && questions == 1).then_some(Query { id, name, qtype, edns })
    }

    /// A response to it.
    pub fn answer(&self, answer: &Answer) -> Vec<u8> {
        let flags = 0x8580 | u16::from(answer.truncated) << 9 | answer.rcode & 15;
        let edns = self.edns || answer.rcode > 15;
        let mut message = header(self.id, flags, [1, answer.records.len() as u16, 0, edns.into()]);
        self.question(&mut message);
        for (owner, ttl, data) in &answer.records {
            if *owner == self.name {
                message.extend([0xc0, 12]);
            } else {
                put_name(&mut message, owner);
            }
            let (number, data) = match data {
                Data::Address(IpAddr::V4(address)) => (1, address.octets().to_vec()),
                Data::Address(IpAddr::V6(address)) => (28, address.octets().to_vec()),
                Data::Alias(target) => {
                    let mut name = Vec::new();
                    put_name(&mut name, target);
                    (5, name)
                }
            };
            put(&mut message, &[number, 1, (*ttl >> 16) as u16, *ttl as u16, data.len() as u16]);
            message.extend(data);
        }
        if edns {
            opt(&mut message, answer.rcode >> 4);
        }
        message
    }

    fn question(&self, message: &mut Vec<u8>) {
        put_name(message, &self.name);
        put(message, &[self.qtype, 1]);
    }
}

impl Response {
    /// From the wire; none if it is no response, or is not whole.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let [id, flags, questions, answers, authorities, additional] = words::<6>(message)?;
        let mut at = 12;
        for _ in 0..questions {
            at = name(message, at)?.1 + 4;
        }
        let mut rcode = flags & 15;
        for _ in 0..u32::from(answers) + u32::from(authorities) + u32::from(additional) {
            let end = name(message, at)?.1;
            if word(message, end)? == OPT {
                rcode |= u16::from(*message.get(end + 4)?) << 4;
            }
            at = end + 10 + usize::from(word(message, end + 8)?);
        }
        let whole = flags & 0x8000 != 0 && at <= message.len();
        whole.then_some(Response { id, rcode, truncated: flags & 0x0200 != 0, answers })
    }
}

/// An address from a label: `11-22-33-44`, or 32 hexadecimal digits.
pub fn address_label(label: &str) -> Option<IpAddr> {
    if label.len() == 32 {
        return u128::from_str_radix(label, 16).ok().map(|bits| Ipv6Addr::from(bits).into());
    }
    label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// The label of an address.
pub fn label_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => format!("{:032x}", u128::from(address)),
    }
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    put(&mut message, &[id, flags]);
    put(&mut message, &counts);
    message
}

fn opt(message: &mut Vec<u8>, rcode_high: u16) {
    message.push(0);
    put(message, &[OPT, 1232, rcode_high << 8, 0, 0]);
}

fn put(message: &mut Vec<u8>, words: &[u16]) {
    message.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

fn put_name(message: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn words<const N: usize>(message: &[u8]) -> Option<[u16; N]> {
    let words: Option<Vec<u16>> = (0..N).map(|number| word(message, number * 2)).collect();
    words?.try_into().ok()
}

/// The name at `at`, and where what follows it begins. A pointer ends it: the names read here are those asked for.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((labels.join("."), at + 1)),
            0xc0.. => return Some((labels.join("."), at + 2)),
            _ => labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).into_owned()),
        }
        at += 1 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_answers_are_read_as_written() {
        let query = Query { id: 7, name: "a.example.com".to_owned(), qtype: 28, edns: true };
        assert_eq!(Query::decode(&query.encode()), Some(query.clone()));
        let alias = (query.name.clone(), 60, Data::Alias("b.example.com".to_owned()));
        let address = ("b.example.com".to_owned(), 60, Data::Address(Ipv6Addr::LOCALHOST.into()));
        let answer = Answer { rcode: 16, truncated: true, records: vec![alias, address] };
        let bytes = query.answer(&answer);
        assert_eq!(
            Response::decode(&bytes),
            Some(Response { id: 7, rcode: 16, truncated: true, answers: 2 })
        );
        assert!((0..bytes.len()).all(|length| Response::decode(&bytes[..length]).is_none()));
        assert_eq!(Query::decode(&bytes), None, "a response is no query");
    }

    #[test]
    fn addresses_are_labels() {
        for address in ["11.22.33.44", "2a00::1"] {
            let address = address.parse().expect("an address");
            assert_eq!(address_label(&label_of(address)), Some(address));
        }
        assert_eq!(address_label("example"), None);
    }
}
