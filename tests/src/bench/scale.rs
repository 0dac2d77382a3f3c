// SPDX-License-Identifier: Apache-2.0

//! What the exporter itself costs: passes over many sockets, scrapes of many series, memory, an ordinary node's load.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::account::{self, Memory};
use super::hold::Holders;
use super::machine::Cgroup;
use super::rig::Exporter;
use super::spread::Spread;
use super::table::Table;
use super::trace::Trace;

const SCRAPES: usize = 15;
const WARM_UP: usize = 5;

/// What one scrape costs, many times over.
struct ScrapeCost {
    /// Processor time of the exporter, kernel programs run by it included, in seconds.
    cpu: Spread,
    /// Time until the last byte, in seconds.
    wall: Spread,
    /// Of the answer.
    bytes: usize,
}

/// Scrapes again and again; `between` runs before each.
fn scrapes(
    exporter: &Exporter,
    encoding: &str,
    mut between: impl FnMut() -> Result<()>,
) -> Result<ScrapeCost> {
    for _ in 0..WARM_UP {
        exporter.scrape(encoding)?;
    }
    let (mut cpu, mut wall, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..SCRAPES {
        between()?;
        let before = account::cpu_of(exporter.pid())?;
        let (took, body) = exporter.scrape(encoding)?;
        cpu.push((account::cpu_of(exporter.pid())? - before).as_secs_f64());
        wall.push(took.as_secs_f64());
        bytes = body.len();
    }
    Ok(ScrapeCost { cpu: Spread::of(&cpu), wall: Spread::of(&wall), bytes })
}

/// Passes over a table of so many sockets, idle and busy ones, in either kind of control group.
pub fn many_sockets() -> Result<Table> {
    let mut table = Table::new(&[
        "open sockets",
        "in",
        "scrape, all idle, ms CPU",
        "all busy, ms CPU",
        "idle, ns per socket",
        "busy, ns per socket",
        "longest program run, ms",
        "memory",
    ]);
    for cgroup in [Cgroup::named("fg-bench.service")?, Cgroup::root()?] {
        let exporter = Exporter::start(&cgroup, &[])?;
        let none = scrapes(&exporter, "identity", || Ok(()))?;
        let cell = format!("{:.1}", none.cpu.scaled(1e3));
        let now = memory(account::memory_of(exporter.pid())?);
        table.row(&["none of ours", cgroup.describe(), &cell, "", "", "", &longest_run(&exporter)?, &now]);
        for sockets in [1_000_u32, 20_000, 100_000] {
            let mut holders = Holders::start(&cgroup, sockets / 2, 10)?;
            let idle = scrapes(&exporter, "identity", || Ok(()))?;
            let busy = scrapes(&exporter, "identity", || holders.run("busy", || Ok(())))?;
            let per_socket = |cost: &ScrapeCost| {
                let extra = [cost.cpu.low, cost.cpu.median, cost.cpu.high].map(|cpu| cpu - none.cpu.median);
                if extra[1] <= none.cpu.high - none.cpu.low {
                    return "lost in the fixed cost".to_string();
                }
                format!("{:.0}", Spread::of(&extra).scaled(1e9 / f64::from(sockets)))
            };
            table.row(&[
                &sockets.to_string(),
                cgroup.describe(),
                &format!("{:.1}", idle.cpu.scaled(1e3)),
                &format!("{:.1}", busy.cpu.scaled(1e3)),
                &per_socket(&idle),
                &per_socket(&busy),
                &longest_run(&exporter)?,
                &memory(account::memory_of(exporter.pid())?),
            ]);
        }
    }
    Ok(table)
}

/// The longest run of a kernel program in some scrapes, in milliseconds.
fn longest_run(exporter: &Exporter) -> Result<String> {
    let trace = Trace::of(exporter.pid())?;
    for _ in 0..3 {
        exporter.scrape("identity")?;
    }
    let longest = trace.runs()?.into_iter().max().context("the exporter runs no program to walk sockets")?;
    Ok(format!("{:.2}", longest.as_secs_f64() * 1e3))
}

/// From start to the first complete scrape.
pub fn start(table: &mut Table) -> Result<()> {
    let cgroup = Cgroup::root()?;
    let starts = (0..5).map(|_| Ok(Exporter::start(&cgroup, &[])?.started_in.as_secs_f64()));
    let seconds = starts.collect::<Result<Vec<f64>>>()?;
    let figure = format!("{:.2} s", Spread::of(&seconds));
    table.row(&["start to first complete scrape", &figure, "2 s"]);
    Ok(())
}

/// Scrapes of about 20,000 series.
pub fn many_series(table: &mut Table) -> Result<()> {
    const SERIES: usize = 20_000;
    let cgroup = Cgroup::named("fg-bench.service")?;
    // How many series a port makes is the exporter's affair: find out with some, then take as many as it needs.
    let mut ports: u32 = 100;
    for _ in 0..4 {
        let exporter = Exporter::start(&cgroup, &["--series.limit=1000000"])?;
        let _holders = Holders::start(&cgroup, ports * 2, ports)?;
        let (_, body) = exporter.scrape("identity")?;
        let series =
            body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();
        if series.abs_diff(SERIES) > SERIES / 20 {
            let wanted = f64::from(ports) * SERIES as f64 / series.max(1) as f64;
            ports = (wanted as u32).clamp(1, 5_000);
            continue;
        }
        for (what, encoding) in [("", "identity"), (", gzip", "gzip")] {
            let cost = scrapes(&exporter, encoding, || Ok(()))?;
            let name = format!("scrape of {series} series{what}");
            table.row(&[&name, &format!("{:.1} ms CPU", cost.cpu.scaled(1e3)), "10 ms"]);
            table.row(&[
                &format!("{name}, until the last byte"),
                &format!("{:.1} ms", cost.wall.scaled(1e3)),
                "",
            ]);
            table.row(&[&format!("{name}, size"), &format!("{:.2} MB", cost.bytes as f64 / 1e6), ""]);
        }
        let now = memory(account::memory_of(exporter.pid())?);
        table.row(&[&format!("memory with {series} series"), &now, "30 MB"]);
        return Ok(());
    }
    bail!("no number of ports makes about {SERIES} series: the last try was {ports}")
}

/// 2,000 connections, 100 new ones and 5,000 requests a second, a scrape every 15 seconds, for a minute.
pub fn ordinary_node(table: &mut Table) -> Result<()> {
    const SECONDS: u64 = 60;
    let _statistics = Statistics::on()?;
    let cgroup = Cgroup::named("fg-bench.service")?;
    let mut holders = Holders::start(&cgroup, 2_000, 20)?;
    let exporter = Exporter::start(&cgroup, &[])?;
    let (cpu, programs) = (account::cpu_of(exporter.pid())?, account::programs_of(exporter.pid())?);
    let started = Instant::now();
    holders.run(&format!("load {SECONDS} 100 5000"), || {
        (1..=SECONDS / 15).try_for_each(|scrape| {
            let due = started + Duration::from_secs(15 * scrape) - Duration::from_secs(1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            exporter.scrape("gzip").map(drop)
        })
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let own = (account::cpu_of(exporter.pid())? - cpu).as_secs_f64();
    let kernel = account::programs_of(exporter.pid())?.since(&programs);
    // The walk runs in the exporter's own time and is in `own` already.
    let kernel = kernel.elsewhere().as_secs_f64();
    let figure = format!(
        "{:.3} % of one core (itself {:.3} %, its programs in others' time {:.3} %)",
        (own + kernel) / seconds * 100.0,
        own / seconds * 100.0,
        kernel / seconds * 100.0
    );
    table.row(&["2,000 connections, 100 new/s, 5,000 requests/s, scraped every 15 s", &figure, "0.1 %"]);
    Ok(())
}

fn memory(memory: Memory) -> String {
    format!(
        "{:.1} MB resident ({:.1} MB its own, the rest its binary), {:.1} MB of BPF maps",
        memory.resident as f64 / 1e6,
        memory.anonymous as f64 / 1e6,
        memory.maps as f64 / 1e6
    )
}

/// The kernel's own account of the run time of BPF programs, while this lives.
struct Statistics {
    before: String,
}

impl Statistics {
    const SYSCTL: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn on() -> Result<Self> {
        let before = fs::read_to_string(Self::SYSCTL).context(Self::SYSCTL)?;
        fs::write(Self::SYSCTL, "1").context(Self::SYSCTL)?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(Self::SYSCTL, &self.before) {
            eprintln!("{}: {error}", Self::SYSCTL);
        }
    }
}
