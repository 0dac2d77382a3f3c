// SPDX-License-Identifier: Apache-2.0
//! The names file's text: strict YAML, every value checked, every fault told by line and column.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::identity::{Kind, MAX_LABEL_BYTES};
use crate::names_file::table::{Entry, Table};
use crate::ranges;

/// What is wrong with the text of a names file, and where. Printed as `line:column: what`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Line, counted from 1; 0 when the fault has no place.
    pub line: u64,
    /// Column, counted from 1.
    pub column: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.what),
            _ => write!(f, "{}:{}: {}", self.line, self.column, self.what),
        }
    }
}

impl Fault {
    fn at(place: Location, what: impl Into<String>) -> Self {
        Fault { line: place.line(), column: place.column(), what: what.into() }
    }
}

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
enum RawKind {
    Host,
    External,
}

/// Parses and checks a whole names file.
///
/// # Errors
/// The first fault in the order of the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Table, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let good = &bytes[..e.valid_up_to()];
        let line_start = good.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        Fault {
            line: 1 + good.iter().filter(|b| **b == b'\n').count() as u64,
            column: 1 + (good.len() - line_start) as u64,
            what: "not UTF-8 text".into(),
        }
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Fault {
            line: 0,
            column: 0,
            what: "the file is empty; an empty list is `names: []`".into(),
        });
    }
    // The defaults stop at 250,000 nodes: some 40,000 entries, fewer than a file of the permitted size may hold.
    let options = serde_saphyr::options! {
        with_snippet: false,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        budget: serde_saphyr::budget! { max_events: 8_000_000, max_nodes: 8_000_000 },
    };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|e| yaml_fault(&e))?;
    let mut table = Table::default();
    for raw in file.names {
        add(&mut table, raw)?;
    }
    Ok(table)
}

/// The YAML library's message without its own way of telling the place, and in an operator's words.
fn yaml_fault(error: &serde_saphyr::Error) -> Fault {
    let mut what = error.to_string();
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    if line != 0
        && let Some(at) = what.rfind(&format!(" at line {line}, column {column}"))
    {
        what.truncate(at);
    }
    for (theirs, ours) in [
        (", set DuplicateKeyPolicy in Options if acceptable", ""),
        ("; use from_str_multiple or from_str_multiple_with_options", "; only one is allowed"),
        ("; use Option<String>", ""),
        ("expected sequence start", "expected a list"),
        ("expected mapping start", "expected an entry with keys and values"),
        ("cannot deserialize null into string", "expected text, found nothing"),
        ("invalid i64", "expected a whole number"),
    ] {
        what = what.replace(theirs, ours);
    }
    Fault { line, column, what }
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
        kind: raw.kind.map(|kind| match kind {
            RawKind::Host => Kind::Host,
            RawKind::External => Kind::External,
        }),
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

fn label(key: &str, raw: Option<Spanned<String>>) -> Result<String, Fault> {
    let Some(raw) = raw else { return Ok(String::new()) };
    let Spanned { value, referenced, .. } = raw;
    if value.len() > MAX_LABEL_BYTES {
        let what = format!("`{key}` is {} bytes long; at most {MAX_LABEL_BYTES} are allowed", value.len());
        return Err(Fault::at(referenced, what));
    }
    if value.chars().any(char::is_control) {
        return Err(Fault::at(referenced, format!("`{key}` holds a control character: {value:?}")));
    }
    if value.trim() != value {
        return Err(Fault::at(referenced, format!("`{key}` begins or ends with white space: {value:?}")));
    }
    Ok(value)
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
