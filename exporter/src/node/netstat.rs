// SPDX-License-Identifier: Apache-2.0
//! What the kernel counts in each network namespace, by the workload that lives there.
//!
//! No namespace is entered: `/proc/<pid>/net` of one process in it is enough. Reading and naming happen on a thread of their
//! own, which may read the descriptions of containers that belong to others.

mod columns;
mod families;
mod groups;
mod namespaces;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use flowgauge_labels::{Layout, Resolver};
use flowgauge_probes::namespaces::{self as namespaces_probe, Namespaces};

use self::worker::{Row, Worker};
use super::host::{Absent, Host};
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::audit::Audit;
use crate::source::Family;
use crate::source::FamilyKind::Gauge;

pub use families::FAMILIES as COUNTER_FAMILIES;

static NAMESPACES: Family = plain(
    "netstat_namespaces",
    Gauge,
    &[],
    "Network namespaces that are read: those in which a process lives, the host's included.",
    "/proc/*/net",
);

/// In the order in which they are served, before [`COUNTER_FAMILIES`].
pub const FAMILIES: &[&Family] = &[&NAMESPACES];

/// A scrape does not wait longer for the thread; what it read before is served then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread needs.
pub struct Setting {
    /// The host's procfs.
    pub procfs: PathBuf,
    /// Names the workloads.
    pub resolver: Arc<Resolver>,
    /// Where control groups are, to find those of processes.
    pub layout: Layout,
    /// What the host's own namespace is called.
    pub host: String,
    /// Most workloads that are told apart.
    pub most: usize,
    /// Takes the kernel's side of the audit; None if there is no other side.
    pub audit: Option<Arc<Audit>>,
}

/// What was read.
#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    namespaces: usize,
}

/// The thread, and what it told last.
pub struct Netstat {
    asking: Sender<SyncSender<Report>>,
    last: Report,
    waiting: Option<Receiver<Report>>,
}

impl Netstat {
    /// Starts the thread. `confine` gives up what it does not need; it runs there.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(setting: Setting, confine: impl FnOnce() + Send + 'static) -> anyhow::Result<Self> {
        let (asking, asked) = channel::<SyncSender<Report>>();
        let work = move || {
            let mut storage = namespaces_probe::Storage::default();
            let numbers = setting.audit.as_ref().and_then(|_| load_numbers(&mut storage));
            confine();
            let mut worker = Worker::new(setting, numbers);
            while let Ok(answer) = asked.recv() {
                worker.read();
                // Whoever asked may have given up.
                let _ = answer.try_send(Report { rows: worker.rows(), namespaces: worker.namespaces() });
            }
        };
        std::thread::Builder::new()
            .name("netstat".to_owned())
            .spawn(work)
            .context("starting the netstat thread")?;
        Ok(Self { asking, last: Report::default(), waiting: None })
    }

    /// Waits for the report of a reading that began after this call, or for that of one that takes its time.
    fn ask(&mut self) -> Result<(), Absent> {
        let dead = || Absent::OutOfSight("the thread that reads them has died".to_owned());
        let answer = match self.waiting.take() {
            Some(answer) => answer,
            None => {
                let (sender, answer) = sync_channel(1);
                self.asking.send(sender).map_err(|_| dead())?;
                answer
            }
        };
        match answer.recv_timeout(PATIENCE) {
            Ok(report) => self.last = report,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => self.waiting = Some(answer),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err(dead()),
        }
        Ok(())
    }
}

/// The program that tells the numbers of namespaces: without it, there is no audit.
fn load_numbers(storage: &mut namespaces_probe::Storage) -> Option<Namespaces<'_>> {
    Namespaces::load(storage).inspect_err(|error| tracing::warn!(%error, "without audit")).ok()
}

impl Item for Netstat {
    fn name(&self) -> Name {
        "netstat"
    }

    fn read(&mut self, _: &Host, out: &mut Samples) -> Result<(), Absent> {
        self.ask()?;
        if self.last.namespaces == 0 {
            return Err(Absent::OutOfSight("no process's network namespace can be read".to_owned()));
        }
        out.one(&NAMESPACES, self.last.namespaces as f64);
        for (place, family) in COUNTER_FAMILIES.iter().enumerate() {
            let counted = self.last.rows.iter().filter(|row| row.counts[place] > 0);
            let samples = counted
                .map(|row| (row.namespace.to_string(), row.workload.to_string(), row.counts[place] as f64));
            out.each_pair(family, samples);
        }
        Ok(())
    }
}
