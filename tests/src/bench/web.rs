// SPDX-License-Identifier: Apache-2.0

//! nginx asked by wrk over connections that stay: what following HTTP costs a server and its client.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::account;
use super::floor::EmptyPair;
use super::machine::Cgroup;
use super::rig::Exporter;
use super::spread::{Shuffler, Spread};
use super::table::Table;
use crate::http::web::Web;
use crate::netns::{Host, World};

/// What runs beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    Without,
    Empty,
    WithoutHttp,
    With,
}

impl Arm {
    const ALL: [Self; 4] = [Self::Without, Self::Empty, Self::WithoutHttp, Self::With];

    fn describe(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Empty => "with two empty programs where the exporter has its own",
            Self::WithoutHttp => "with `--no-collector.http`",
            Self::With => "with the default collectors",
        }
    }

    fn exporter(self) -> Result<Option<Exporter>> {
        let flags: &[&str] = match self {
            Self::Without | Self::Empty => return Ok(None),
            Self::WithoutHttp => &["--no-collector.http"],
            Self::With => &[],
        };
        Exporter::start(&Cgroup::root()?, flags).map(Some)
    }
}

/// Requests in a second, and nanoseconds of the whole machine for each.
type Run = (f64, f64);

/// Runs each arm once in each repetition, in a new order; ratios are taken within a repetition.
pub fn per_request(repetitions: u32) -> Result<Table> {
    let world = World::new()?;
    let host = world.host("web")?;
    let web = Web::start(&host, &["127.0.0.1:80"], &[("page", 1000)])?;
    let mut shuffler = Shuffler::new(0x0e11_2026);
    let mut runs = BTreeMap::<Arm, Vec<Run>>::new();
    for repetition in 1..=repetitions {
        eprint!("\rnginx and wrk: {repetition} of {repetitions} ");
        let mut arms = Arm::ALL;
        shuffler.shuffle(&mut arms);
        for arm in arms {
            let _exporter = arm.exporter()?;
            let _empty = (arm == Arm::Empty).then(EmptyPair::attach).transpose()?;
            runs.entry(arm).or_default().push(run(&host)?);
        }
    }
    eprintln!();
    drop(web);
    let mut table = Table::new(&[
        "nginx, 2 workers, asked by wrk, 16 connections",
        "requests/s",
        "against without",
        "CPU of both ends per request, µs",
        "against without",
        "added, ns",
    ]);
    let of = |arm: Arm| runs.get(&arm).map_or(&[][..], Vec::as_slice);
    for arm in Arm::ALL {
        let figures = |figure: fn(&Run, &Run) -> f64| {
            Spread::of(
                &of(arm)
                    .iter()
                    .zip(of(Arm::Without))
                    .map(|(run, without)| figure(run, without))
                    .collect::<Vec<_>>(),
            )
        };
        table.row(&[
            arm.describe(),
            &format!("{:.0}", figures(|run, _| run.0)),
            &format!("{:.3}", figures(|run, without| run.0 / without.0)),
            &format!("{:.2}", figures(|run, _| run.1).scaled(1e-3)),
            &format!("{:.3}", figures(|run, without| run.1 / without.1)),
            &format!("{:.0}", figures(|run, without| run.1 - without.1)),
        ]);
    }
    Ok(table)
}

fn run(host: &Host) -> Result<Run> {
    let wrk = |seconds: &str| -> Result<(f64, f64)> {
        let mut command: Command = host.command(Path::new("wrk"));
        let output = command.args(["-t1", "-c16", "-d", seconds, "http://127.0.0.1/page"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "wrk: {}{text}", String::from_utf8_lossy(&output.stderr));
        let word = |line: Option<&str>, at| line?.split_whitespace().nth(at)?.parse::<f64>().ok();
        let requests = word(text.lines().find(|line| line.contains("requests in")), 0);
        let rate = word(text.lines().find(|line| line.starts_with("Requests/sec:")), 1);
        requests.zip(rate).with_context(|| format!("wrk said {text}"))
    };
    wrk("1")?;
    let before = account::machine_busy()?;
    let (requests, rate) = wrk("3")?;
    let busy = account::machine_busy()?.saturating_sub(before);
    Ok((rate, busy.as_nanos() as f64 / requests))
}
