// SPDX-License-Identifier: Apache-2.0
//! The scripted server, `fg-dns serve`: the name asked for says how it answers, for what real servers never do.
//!
//! Labels that it obeys, in any place of the name:
//!
//! | label | what comes |
//! |---|---|
//! | `rcode5` | that rcode; above 15 by EDNS |
//! | `delay300` | milliseconds later |
//! | `silent` | nothing |
//! | `twice` | the answer, and again |
//! | `tc` | over UDP, a truncated answer without records |
//! | `hold8` | nothing until 8 such queries came, then all answers in reverse order |
//! | `forgeid`, `forgename`, `forgetype`, `forgeport` | first one with that wrong, and with [`FORGED`] as address |
//! | `bad3` | a malformed response of that kind instead |
//! | `11-22-33-44`, 32 hexadecimal digits | this address in the answer; none makes it an empty answer |
//! | `ttl5` | TTL of all records; 300 otherwise |
//! | `alias` | a CNAME to `canonical.provider.net`, and the addresses there |

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::message::{Answer, Data, Query, address_label};
use crate::exporter::beside_test;
use crate::netns::Host;
use crate::process::Process;

/// The address in forged answers.
pub const FORGED: Ipv4Addr = Ipv4Addr::new(11, 66, 66, 66);

const PATIENCE: Duration = Duration::from_secs(20);

/// What is wrong in a forged answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// The id.
    Id,
    /// The question's name.
    Name,
    /// The question's type.
    Type,
    /// The port that it comes from.
    Port,
}

/// What a name asks for.
#[derive(Debug, Clone)]
pub struct Script {
    /// When to answer.
    pub delay: Duration,
    /// Not at all.
    pub silent: bool,
    /// How often.
    pub copies: usize,
    /// Truncated over UDP.
    pub truncated: bool,
    /// How many queries to wait for.
    pub hold: usize,
    /// What to send first.
    pub forgery: Option<Forgery>,
    /// A malformed response instead.
    pub bad: Option<usize>,
    /// The true answer.
    pub answer: Answer,
}

impl Script {
    /// What the name of this query asks for.
    pub fn of(query: &Query) -> Self {
        let labels = || query.name.split('.');
        let number =
            |command: &str| labels().find_map(|label| label.strip_prefix(command)?.parse::<usize>().ok());
        let has = |command: &str| labels().any(|label| label == command);
        let forgeries = [
            ("forgeid", Forgery::Id),
            ("forgename", Forgery::Name),
            ("forgetype", Forgery::Type),
            ("forgeport", Forgery::Port),
        ];
        let ttl = number("ttl").unwrap_or(300) as u32;
        let (mut owner, mut records) = (query.name.clone(), Vec::new());
        if has("alias") {
            let target = "canonical.provider.net".to_owned();
            records.push((owner, ttl, Data::Alias(target.clone())));
            owner = target;
        }
        let fits = |address: &IpAddr| query.qtype == if address.is_ipv4() { 1 } else { 28 };
        let addresses = labels().filter_map(address_label).filter(fits);
        records.extend(addresses.map(|address| (owner.clone(), ttl, Data::Address(address))));
        Script {
            delay: Duration::from_millis(number("delay").unwrap_or(0) as u64),
            silent: has("silent"),
            copies: 1 + usize::from(has("twice")),
            truncated: has("tc"),
            hold: number("hold").unwrap_or(1),
            forgery: forgeries.into_iter().find(|(label, _)| has(label)).map(|(_, forgery)| forgery),
            bad: number("bad"),
            answer: Answer { rcode: number("rcode").unwrap_or(0) as u16, truncated: false, records },
        }
    }
}

/// A forged answer to a query.
pub fn forged(query: &Query, forgery: Forgery) -> Vec<u8> {
    let mut asked = query.clone();
    match forgery {
        Forgery::Id => asked.id ^= 0x5555,
        Forgery::Name => asked.name = format!("x{}", asked.name),
        Forgery::Type => asked.qtype = 16,
        Forgery::Port => {}
    }
    let record = (asked.name.clone(), 300, Data::Address(FORGED.into()));
    asked.answer(&Answer { records: vec![record], ..Answer::default() })
}

/// What the server has counted.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Queries by type's number, those over TCP included.
    pub queries: BTreeMap<u16, u64>,
    /// Queries over TCP.
    pub tcp_queries: u64,
    /// Messages that were no queries.
    pub malformed: u64,
    /// True answers sent, by rcode; second copies not counted.
    pub answers: BTreeMap<u16, u64>,
    /// Second copies sent.
    pub copies: u64,
    /// Forged answers sent.
    pub forged: u64,
}

impl Report {
    /// Queries of all types.
    pub fn asked(&self) -> u64 {
        self.queries.values().sum()
    }
}

/// A running scripted server.
#[derive(Debug)]
pub struct Scripted {
    process: Process,
}

impl Scripted {
    /// Starts it in `host` on each of `addresses`, over UDP and TCP.
    pub fn start(host: &Host, addresses: &[String]) -> Result<Self> {
        let mut command = host.command(beside_test("fg-dns")?);
        command.arg("serve");
        addresses.iter().for_each(|address| {
            command.args(["--listen", address]);
        });
        let mut process = Process::spawn("fg-dns serve", &mut command)?;
        let ready = process.line(PATIENCE)?;
        ensure!(ready == "ready", "the scripted server said {ready:?}; its log:\n{}", process.log());
        Ok(Scripted { process })
    }

    /// What it has counted so far.
    pub fn report(&mut self) -> Result<Report> {
        self.process.send("report")?;
        let line = self.process.line(PATIENCE)?;
        serde_json::from_str(&line).with_context(|| format!("server's report {line:?}"))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
