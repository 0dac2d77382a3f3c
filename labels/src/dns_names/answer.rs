// SPDX-License-Identifier: Apache-2.0
//! What one DNS response (RFC 1035) says about addresses. It comes from a network that may be hostile, and may be cut.
//!
//! Only the answer section counts, and in it only what the question leads to: records of its own name, and of the names
//! that CNAME (RFC 1034), DNAME (RFC 6672), SVCB and HTTPS records (RFC 9460) make of it. A server may add records of any
//! other owner, and that must not name an address.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message::RecordSection;
use domain::base::{Message, ParsedName};
use domain::rdata::svcb::value::{Ipv4Hint, Ipv6Hint};
use domain::rdata::svcb::{Https, SvcParams, Svcb};
use domain::rdata::{A, Aaaa, Cname, Dname};

/// Longest part of a message that is read, in bytes.
pub(crate) const MAX_MESSAGE: usize = 4096;
/// Records beyond are not read.
const MAX_RECORDS: usize = 256;
/// Addresses beyond are not named.
const MAX_ADDRESSES: usize = 256;
/// Names that the question may lead to, itself included.
const MAX_CHAIN: usize = 16;
/// Longest name in text, in bytes.
const MAX_NAME: usize = 253;

type Octets<'a> = &'a [u8];
type Name<'a> = ParsedName<Octets<'a>>;

/// The addresses of a name, as one message tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// The name asked for: lower case, without the final dot.
    pub asked: Box<str>,
    /// The names that it leads to, in that order.
    pub canonical: Vec<Box<str>>,
    /// Each with the smallest time to live on the way to it, seconds.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// The message is no DNS response that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// What a record of the answer section makes of its owner.
enum Leads {
    To(Box<str>),
    /// Every name below the owner becomes one below this.
    Below(Box<str>),
    At(IpAddr),
    /// A service at this name, which is the owner's own if empty, and hints of its addresses.
    Service(Box<str>, Vec<IpAddr>),
}

struct Record {
    owner: Box<str>,
    ttl: u32,
    leads: Leads,
}

impl Answer {
    /// None if the response is no success, or names no address. Of a message that breaks off, the records before count.
    ///
    /// # Errors
    /// There is no header or question, or no record before the fault.
    pub fn parse(message: &[u8]) -> Result<Option<Answer>, Malformed> {
        let message = &message[..message.len().min(MAX_MESSAGE)];
        let message = Message::from_octets(message).map_err(|_| Malformed)?;
        let header = message.header();
        if !header.qr() {
            return Err(Malformed);
        }
        if header.opcode() != Opcode::QUERY || header.rcode() != Rcode::NOERROR {
            return Ok(None);
        }
        let question = message.sole_question().map_err(|_| Malformed)?;
        let Some(asked) = text(question.qname()).filter(|_| question.qclass() == Class::IN) else {
            return Ok(None);
        };
        let section = message.answer().map_err(|_| Malformed)?;
        follow(asked, &records(section)?)
    }
}

/// What is of use in the answer section.
fn records(section: RecordSection<'_, Octets<'_>>) -> Result<Vec<Record>, Malformed> {
    let mut records = Vec::new();
    for (number, record) in section.take(MAX_RECORDS).enumerate() {
        let Ok(record) = record else {
            return if number == 0 { Err(Malformed) } else { Ok(records) };
        };
        if record.class() != Class::IN {
            continue;
        }
        let data = match record.rtype() {
            Rtype::A => record.to_record::<A>().ok().flatten().map(|r| Leads::At(r.data().addr().into())),
            Rtype::AAAA => {
                record.to_record::<Aaaa>().ok().flatten().map(|r| Leads::At(r.data().addr().into()))
            }
            Rtype::CNAME => record
                .to_record::<Cname<Name<'_>>>()
                .ok()
                .flatten()
                .and_then(|r| text(r.data().cname()))
                .map(Leads::To),
            Rtype::DNAME => record
                .to_record::<Dname<Name<'_>>>()
                .ok()
                .flatten()
                .and_then(|r| text(r.data().dname()))
                .map(Leads::Below),
            Rtype::HTTPS => record
                .to_record::<Https<Octets<'_>, Name<'_>>>()
                .ok()
                .flatten()
                .and_then(|r| service(r.data().is_alias(), r.data().target(), r.data().params())),
            Rtype::SVCB => record
                .to_record::<Svcb<Octets<'_>, Name<'_>>>()
                .ok()
                .flatten()
                .and_then(|r| service(r.data().is_alias(), r.data().target(), r.data().params())),
            _ => continue,
        };
        if let Some(leads) = data
            && let Some(owner) = text(&record.owner())
        {
            // A time with the highest bit set is 0 (RFC 2181, section 8).
            let ttl = Some(record.ttl().as_secs()).filter(|ttl| *ttl >> 31 == 0).unwrap_or(0);
            records.push(Record { owner, ttl, leads });
        }
    }
    Ok(records)
}

/// An alias for the root means that there is no such service; a service at the root is at the owner.
fn service(alias: bool, target: &Name<'_>, params: &SvcParams<Octets<'_>>) -> Option<Leads> {
    if target.is_root() {
        return (!alias).then(|| Leads::Service("".into(), hints(params)));
    }
    let target = text(target)?;
    Some(if alias { Leads::To(target) } else { Leads::Service(target, hints(params)) })
}

fn hints(params: &SvcParams<Octets<'_>>) -> Vec<IpAddr> {
    let v4 = params.first::<Ipv4Hint<_>>();
    let v6 = params.first::<Ipv6Hint<_>>();
    let v4 = v4.iter().flat_map(|hint| hint.iter()).map(IpAddr::from);
    let v6 = v6.iter().flat_map(|hint| hint.iter()).map(IpAddr::from);
    v4.chain(v6).take(MAX_ADDRESSES).collect()
}

/// Walks from the question to the addresses.
fn follow(asked: Box<str>, records: &[Record]) -> Result<Option<Answer>, Malformed> {
    let mut chain = vec![(asked, u32::MAX)];
    let mut addresses: Vec<(IpAddr, u32)> = Vec::new();
    let mut at = 0;
    while let Some((name, ttl)) = chain.get(at).cloned() {
        at += 1;
        for record in records {
            let ttl = ttl.min(record.ttl);
            let is_owner = record.owner == name;
            match &record.leads {
                Leads::To(target) if is_owner => visit(&mut chain, target.clone(), ttl),
                Leads::Below(target) => {
                    let prefix = name.strip_suffix(&*record.owner).filter(|prefix| prefix.ends_with('.'));
                    if let Some(prefix) = prefix.filter(|prefix| prefix.len() + target.len() <= MAX_NAME) {
                        visit(&mut chain, format!("{prefix}{target}").into(), ttl);
                    }
                }
                Leads::At(addr) if is_owner => add(&mut addresses, *addr, ttl),
                Leads::Service(target, hints) if is_owner => {
                    if !target.is_empty() {
                        visit(&mut chain, target.clone(), ttl);
                    }
                    hints.iter().for_each(|addr| add(&mut addresses, *addr, ttl));
                }
                _ => {}
            }
        }
    }
    let mut names = chain.into_iter().map(|(name, _)| name);
    let asked = names.next().ok_or(Malformed)?;
    Ok((!addresses.is_empty()).then(|| Answer { asked, canonical: names.collect(), addresses }))
}

fn visit(chain: &mut Vec<(Box<str>, u32)>, name: Box<str>, ttl: u32) {
    if chain.len() < MAX_CHAIN && chain.iter().all(|(known, _)| *known != name) {
        chain.push((name, ttl));
    }
}

/// Addresses that nobody can be at are not named: blocklists answer with them.
fn add(addresses: &mut Vec<(IpAddr, u32)>, addr: IpAddr, ttl: u32) {
    let addr = crate::ranges::canonical(addr);
    if addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() {
        return;
    }
    if let Some((_, known)) = addresses.iter_mut().find(|(known, _)| *known == addr) {
        *known = ttl.min(*known);
    } else if addresses.len() < MAX_ADDRESSES {
        addresses.push((addr, ttl));
    }
}

/// A name that a host or a service can have: letters, digits, hyphens and underscores, not all digits at the end, as
/// addresses are. In lower case, without the final dot.
fn text<O: AsRef<[u8]>>(name: &ParsedName<O>) -> Option<Box<str>> {
    let mut text = String::with_capacity(64);
    for label in name.iter().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label.as_ref() {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return None;
            }
            text.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_name = text.len() <= MAX_NAME && !last.bytes().all(|byte| byte.is_ascii_digit());
    is_name.then(|| text.into_boxed_str())
}

#[cfg(test)]
mod tests;
