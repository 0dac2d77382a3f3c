// SPDX-License-Identifier: Apache-2.0
//! Conversations with what must be counted of them, many at a time: each case has a port, and so an edge, of its own.

pub mod framing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Counts;
use super::expect::{Seen, lost, series};
use super::play::{Playing, Scene};
use super::script::Conversation;
use crate::metrics::Metrics;
use crate::stage::{CLIENT, SERVER, Stage};

const PATIENCE: Duration = Duration::from_secs(10);

/// What must be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This and nothing else.
    Exactly(Seen),
    /// Nothing but this; what is missing may be lost.
    AtMost(Seen),
    /// It is no HTTP: no series.
    NotHttp,
}

/// Conversations on one edge.
#[derive(Debug, Clone)]
pub struct Case {
    /// For failure messages.
    pub name: String,
    /// What is said.
    pub conversations: Vec<Conversation>,
    /// What must be counted of all of them.
    pub wanted: Wanted,
}

impl Case {
    /// One conversation, of which these responses (method, code, how many) must be counted, all with a request.
    pub fn new(name: impl Into<String>, conversation: Conversation, responses: &[(&str, u16, u64)]) -> Self {
        Self::many(name, vec![conversation], responses)
    }

    /// The same of several conversations together.
    pub fn many(
        name: impl Into<String>,
        conversations: Vec<Conversation>,
        responses: &[(&str, u16, u64)],
    ) -> Self {
        let mut counts = Counts::new();
        for (method, code, count) in responses {
            *counts.entry(((*method).to_owned(), *code)).or_default() += count;
        }
        Self::counted(name, conversations, counts)
    }

    /// Conversations together, of which these responses must be counted.
    pub fn counted(name: impl Into<String>, conversations: Vec<Conversation>, counts: Counts) -> Self {
        Case { name: name.into(), conversations, wanted: Wanted::Exactly(Seen::answered(counts)) }
    }

    /// Besides, so many requests fail for this reason.
    pub fn failing(mut self, reason: &str, count: u64) -> Self {
        if let Wanted::Exactly(seen) | Wanted::AtMost(seen) = &mut self.wanted {
            seen.failed.insert(reason.to_owned(), count);
        }
        self
    }

    /// Besides, so many responses come without a request.
    pub fn unasked(mut self, code: u16, count: u64) -> Self {
        if let Wanted::Exactly(seen) | Wanted::AtMost(seen) = &mut self.wanted {
            seen.responses.insert(("unknown".to_owned(), code), count);
        }
        self
    }

    /// Some of it, or all, may not be counted, but nothing else may; failures are not looked at.
    pub fn at_most(mut self) -> Self {
        if let Wanted::Exactly(seen) = self.wanted {
            self.wanted = Wanted::AtMost(seen);
        }
        self
    }

    /// It is no HTTP.
    pub fn not_http(name: impl Into<String>, conversation: Conversation) -> Self {
        Case { name: name.into(), conversations: vec![conversation], wanted: Wanted::NotHttp }
    }
}

/// Where cases are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Over the link, IPv4.
    Link4,
    /// Over the link, IPv6.
    Link6,
    /// Inside the server host, over its loopback device.
    Loopback,
}

/// Plays all cases on ports from `first` on, and waits until each is counted as it must be by both observers. Nothing may be
/// lost if all of them are exact.
pub fn check(stage: &Stage, path: Path, first: u16, cases: &[Case]) -> Result<()> {
    let before = lost(&stage.exporter.scrape()?);
    let scenes = scenes(stage, path, first, cases);
    let client = if path == Path::Loopback { &stage.server } else { &stage.client };
    let mut playing = Playing::start(client, &stage.server, &scenes)?;
    playing.played()?;
    let metrics = await_counts(stage, path, first, cases)?;
    let exact = cases.iter().all(|case| matches!(case.wanted, Wanted::Exactly(_)));
    let lost = lost(&metrics) - before;
    ensure!(!exact || lost == 0.0, "{lost} events lost:\n{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

/// The scenes of cases on ports from `first` on.
pub fn scenes(stage: &Stage, path: Path, first: u16, cases: &[Case]) -> Vec<Scene> {
    let address = |port| match path {
        Path::Link4 => stage.link.b.at4(port),
        Path::Link6 => stage.link.b.at6(port),
        Path::Loopback => ([127, 0, 0, 1], port).into(),
    };
    let scene = |(case, port): (&Case, u16)| Scene {
        address: address(port),
        conversations: case.conversations.clone(),
    };
    cases.iter().zip(first..).map(scene).collect()
}

/// Waits until each case is counted as it must be, and names all that are not.
pub fn await_counts(stage: &Stage, path: Path, first: u16, cases: &[Case]) -> Result<Metrics> {
    let deadline = Instant::now() + PATIENCE;
    let mut settled = false;
    loop {
        let metrics = stage.exporter.scrape()?;
        let numbered = || cases.iter().zip(first..);
        let wrong: Vec<_> =
            numbered().filter_map(|(case, port)| verdict(stage, path, port, case, &metrics)).collect();
        if wrong.is_empty() {
            // What has been counted twice, or late, would show now.
            if settled {
                return Ok(metrics);
            }
            settled = true;
        } else if settled || Instant::now() > deadline {
            let lost = metrics.describe("flowgauge_lost", &[]);
            let (wrong, count) = (wrong.join("\n"), wrong.len());
            bail!("{count} of {} cases are counted wrongly:\n{wrong}\nlost:\n{lost}", cases.len());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What is wrong with a case, if anything.
fn verdict(stage: &Stage, path: Path, port: u16, case: &Case, metrics: &Metrics) -> Option<String> {
    let mut edge = stage.edge(port);
    if path == Path::Loopback {
        edge = crate::stage::Edge::between(&stage.server, &stage.server, port);
    }
    let mut wrong = Vec::new();
    for side in [CLIENT, SERVER] {
        let seen = Seen::of(metrics, &edge, side);
        match &case.wanted {
            Wanted::Exactly(wanted) if seen == *wanted => {}
            Wanted::AtMost(wanted) if seen.within(wanted) => {}
            Wanted::NotHttp if series(metrics, &edge, side) == 0 => {}
            Wanted::NotHttp => wrong.push(format!("the {side} took it for HTTP: {}", brief(&seen))),
            Wanted::Exactly(wanted) | Wanted::AtMost(wanted) => {
                wrong.push(format!("the {side} saw {}", differences(&seen, wanted)));
            }
        }
        let closed = edge.sum(metrics, "connections_closed_total", side);
        let connections = case.conversations.len() as f64;
        if closed != connections {
            let all = metrics.describe("flowgauge_tcp_connections", &[("server_port", &port.to_string())]);
            wrong.push(format!("the {side} saw {closed} of {connections} connections closed of:\n{all}"));
        }
    }
    (!wrong.is_empty()).then(|| format!("- {} (port {port}): {}", case.name, wrong.join("; ")))
}

/// What was seen, and what should have been, where they differ.
fn differences(seen: &Seen, wanted: &Seen) -> String {
    let without = |one: &Seen, other: &Seen| {
        let mut left = one.clone();
        left.responses.retain(|key, count| other.responses.get(key) != Some(count));
        brief(&left)
    };
    format!("{} instead of {}", without(seen, wanted), without(wanted, seen))
}

fn brief(seen: &Seen) -> String {
    let responses = seen.responses.iter().map(|((method, code), count)| format!("{method} {code}: {count}"));
    let responses: Vec<_> = responses.collect();
    let failed: &BTreeMap<_, _> = &seen.failed;
    format!("{{{}; {} timed; failed {failed:?}}}", responses.join(", "), seen.durations)
}
