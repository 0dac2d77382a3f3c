// SPDX-License-Identifier: Apache-2.0
//! DNS messages by hand.

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
pub(crate) const DNAME: u16 = 39;
pub(crate) const SVCB: u16 = 64;
pub(crate) const HTTPS: u16 = 65;

/// A name without compression.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

pub(crate) fn v4(text: &str) -> Vec<u8> {
    text.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec()
}

pub(crate) fn v6(text: &str) -> Vec<u8> {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()
}

/// Data of an SVCB or HTTPS record; parameters are keys and values, in the order of keys.
pub(crate) fn binding(priority: u16, target: &str, parameters: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut data = priority.to_be_bytes().to_vec();
    data.extend(name(target));
    for (key, value) in parameters {
        data.extend(key.to_be_bytes());
        data.extend((value.len() as u16).to_be_bytes());
        data.extend(value);
    }
    data
}

/// A response with one question.
#[derive(Clone)]
pub(crate) struct Response {
    pub flags: u16,
    pub question: Vec<u8>,
    pub records: Vec<u8>,
    pub count: u16,
}

impl Response {
    /// NOERROR, to a question of class IN.
    pub fn to(asked: &str, qtype: u16) -> Response {
        let mut question = name(asked);
        question.extend(qtype.to_be_bytes());
        question.extend(1u16.to_be_bytes());
        Response { flags: 0x8180, question, records: Vec::new(), count: 0 }
    }

    pub fn record(self, owner: &str, rtype: u16, ttl: u32, data: Vec<u8>) -> Response {
        self.raw(&name(owner), rtype, 1, ttl, data)
    }

    pub fn raw(mut self, owner: &[u8], rtype: u16, class: u16, ttl: u32, data: Vec<u8>) -> Response {
        self.records.extend(owner);
        self.records.extend(rtype.to_be_bytes());
        self.records.extend(class.to_be_bytes());
        self.records.extend(ttl.to_be_bytes());
        self.records.extend((data.len() as u16).to_be_bytes());
        self.records.extend(data);
        self.count += 1;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let counts = [1, self.count, 0, 0];
        let mut message = vec![0x12, 0x34];
        message.extend(self.flags.to_be_bytes());
        counts.iter().for_each(|count| message.extend(count.to_be_bytes()));
        message.extend(&self.question);
        message.extend(&self.records);
        message
    }
}

/// The addresses of a name, in one message.
pub(crate) fn answer(asked: &str, ttl: u32, addresses: &[&str]) -> Vec<u8> {
    let start = Response::to(asked, A);
    addresses.iter().fold(start, |message, addr| message.record(asked, A, ttl, v4(addr))).bytes()
}
