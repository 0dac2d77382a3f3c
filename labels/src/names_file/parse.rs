// SPDX-License-Identifier: Apache-2.0
//! The names file's text: strict YAML, every value checked, every fault told by line and column.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::identity::Kind;
use crate::names_file::table::{Entry, Table};
use crate::operator_file::yaml::{self, Fault, label};
use crate::ranges;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    names: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    cidrs: Vec<Spanned<String>>,
    ports: Option<Vec<Spanned<i64>>>,
    workload: Spanned<String>,
    namespace: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    region: Option<Spanned<String>>,
    kind: Option<RawKind>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawKind {
    Host,
    External,
}

impl From<RawKind> for Kind {
    fn from(kind: RawKind) -> Kind {
        match kind {
            RawKind::Host => Kind::Host,
            RawKind::External => Kind::External,
        }
    }
}

/// Parses and checks a whole names file.
///
/// # Errors
/// The first fault in the order of the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Table, Fault> {
    let file: File = yaml::read(bytes, "names: []")?;
    let mut table = Table::default();
    for raw in file.names {
        add(&mut table, raw)?;
    }
    Ok(table)
}

fn add(table: &mut Table, raw: Spanned<RawEntry>) -> Result<(), Fault> {
    let place = raw.referenced;
    let raw = raw.value;
    if raw.cidrs.is_empty() {
        return Err(Fault::at(place, "`cidrs` is empty: the entry names nothing"));
    }
    let ports = ports(raw.ports, place)?;
    let workload = label("workload", Some(raw.workload))?;
    if workload.is_empty() {
        return Err(Fault::at(place, "`workload` is empty"));
    }
    let entry = table.add_entry(Entry {
        line: place.line(),
        workload,
        namespace: label("namespace", raw.namespace)?,
        zone: label("zone", raw.zone)?,
        region: label("region", raw.region)?,
        kind: raw.kind.map(Kind::from),
    });
    for cidr in raw.cidrs {
        let net = network(&cidr.value).map_err(|what| Fault::at(cidr.referenced, what))?;
        table.add_prefix(net, &ports, entry).map_err(|clash| {
            let what = match clash.port {
                Some(port) => {
                    format!("{net} port {port} is named already by the entry on line {}", clash.line)
                }
                None => format!("{net} is named already by the entry on line {}", clash.line),
            };
            Fault::at(cidr.referenced, what)
        })?;
    }
    Ok(())
}

fn ports(raw: Option<Vec<Spanned<i64>>>, place: Location) -> Result<Vec<u16>, Fault> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    if raw.is_empty() {
        return Err(Fault::at(place, "`ports` is empty; leave it out to match every port"));
    }
    let mut ports = Vec::with_capacity(raw.len());
    for port in raw {
        match u16::try_from(port.value) {
            Ok(0) | Err(_) => {
                return Err(Fault::at(
                    port.referenced,
                    format!("port {} is not between 1 and 65535", port.value),
                ));
            }
            Ok(number) if ports.contains(&number) => {
                return Err(Fault::at(port.referenced, format!("port {number} is listed twice")));
            }
            Ok(number) => ports.push(number),
        }
    }
    Ok(ports)
}

/// A network, or a single address as the network of that address alone. IPv4-mapped IPv6 becomes IPv4.
fn network(text: &str) -> Result<IpNet, String> {
    let not_one =
        || format!("{text:?} is neither an address nor a network such as 10.1.0.0/16 or 2001:db8::/32");
    let (addr, length) = match text.split_once('/') {
        Some((addr, length)) => (addr, Some(length)),
        None => (text, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| not_one())?;
    let widest = if addr.is_ipv4() { 32 } else { 128 };
    let length: u8 = match length {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) && (1..=3).contains(&digits.len()) => {
            digits
                .parse()
                .ok()
                .filter(|length| *length <= widest)
                .ok_or_else(|| format!("prefix length of {text} is more than {widest}"))?
        }
        Some(_) => return Err(not_one()),
        None => widest,
    };
    let net = match (ranges::canonical(addr), addr) {
        (mapped @ IpAddr::V4(_), IpAddr::V6(_)) if length >= 96 => IpNet::new(mapped, length - 96),
        (_, addr) => IpNet::new(addr, length),
    }
    .map_err(|_| not_one())?;
    match net.trunc() {
        meant if meant.addr() == net.addr() => Ok(net),
        meant => Err(format!("{text} has bits set beyond its prefix length; the network is {meant}")),
    }
}
