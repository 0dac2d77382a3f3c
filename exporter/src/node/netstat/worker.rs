// SPDX-License-Identifier: Apache-2.0
//! Reading the namespaces in turn, and adding up what they counted by workload.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowgauge_probes::namespaces::Namespaces;

use super::Setting;
use super::columns::{Columns, Reading, add_lines};
use super::families::{COUNT, Counts};
use super::groups::Groups;
use super::namespaces::{self, Id};
use crate::quiet::Quiet;

/// Processes are looked at for new namespaces so often, and no more than a two-thousandth of the time.
const SCAN_PERIOD: Duration = Duration::from_secs(10);
const SCAN_COST: u32 = 2000;
/// When a process has gone that stood for a namespace, so soon, and no more than a hundredth of the time.
const SOON: Duration = Duration::from_secs(1);
const SOON_COST: u32 = 100;
/// A reading that took so long goes on where it stopped at the next.
const LONGEST_READING: Duration = Duration::from_millis(10);

/// What a workload has counted.
#[derive(Clone)]
pub struct Row {
    /// Kubernetes namespace, or what is like it.
    pub namespace: Arc<str>,
    /// Who lives there.
    pub workload: Arc<str>,
    /// In the order of the families.
    pub counts: Counts,
}

type Names = (Arc<str>, Arc<str>);

struct Namespace {
    pid: u32,
    /// Its number, as sockets lead to it, if that is known.
    netns: Option<u32>,
    /// None until it was read once: what it had counted by then is not told.
    last: Option<Counts>,
    /// By which reading it was read last.
    read: u64,
}

/// The thread's state.
pub struct Worker<'o> {
    setting: Setting,
    /// Tells the numbers of namespaces; None where there is no audit.
    numbers: Option<Namespaces<'o>>,
    failures: Quiet,
    /// Of `snmp` and `netstat`.
    columns: [Columns; 2],
    host: Option<Id>,
    groups: Groups,
    namespaces: HashMap<Id, Namespace>,
    totals: HashMap<Names, Counts>,
    /// What the last look at all processes took.
    scan_cost: Option<Duration>,
    next_scan: Instant,
    readings: u64,
}

impl<'o> Worker<'o> {
    /// What namespaces counted before is not theirs to tell: what is there now is where it begins.
    pub fn new(setting: Setting, numbers: Option<Namespaces<'o>>) -> Self {
        let host = namespaces::of(&setting.procfs, 1);
        let groups = Groups::new(setting.layout.clone(), &setting.procfs);
        let mut worker = Self {
            setting,
            numbers,
            failures: Quiet::default(),
            columns: Default::default(),
            host,
            groups,
            namespaces: HashMap::new(),
            totals: HashMap::new(),
            scan_cost: None,
            next_scan: Instant::now(),
            readings: 0,
        };
        worker.scan();
        worker
    }

    /// How many namespaces are read.
    pub fn namespaces(&self) -> usize {
        self.namespaces.len()
    }

    /// What was counted by whom.
    pub fn rows(&self) -> Vec<Row> {
        let row = |((namespace, workload), counts): (&Names, &Counts)| Row {
            namespace: Arc::clone(namespace),
            workload: Arc::clone(workload),
            counts: *counts,
        };
        let mut rows: Vec<_> = self.totals.iter().map(row).collect();
        rows.sort_unstable_by(|a, b| (&a.namespace, &a.workload).cmp(&(&b.namespace, &b.workload)));
        rows
    }

    /// Reads the namespaces, those first that have waited longest.
    pub fn read(&mut self) {
        let begun = Instant::now();
        if begun >= self.next_scan {
            self.scan();
        }
        self.readings += 1;
        let mut order: Vec<(u64, Id)> =
            self.namespaces.iter().map(|(id, namespace)| (namespace.read, *id)).collect();
        order.sort_unstable_by_key(|(read, _)| *read);
        for (_, id) in order {
            self.read_one(id);
            if begun.elapsed() > LONGEST_READING {
                return;
            }
        }
    }

    /// Finds namespaces that are new, and forgets those without a process.
    fn scan(&mut self) {
        let begun = Instant::now();
        let found = namespaces::scan(&self.setting.procfs);
        let first = self.scan_cost.is_none();
        self.namespaces.retain(|id, _| {
            let lives = found.contains_key(id);
            if let (false, Some(audit)) = (lives, &self.setting.audit) {
                audit.forget(id.number());
            }
            lives
        });
        for (id, pid) in found {
            match self.namespaces.get_mut(&id) {
                Some(known) => known.pid = pid,
                None => {
                    // Those that were there first begin where they are, those that come at nothing.
                    let last = if first { self.counts(id, pid) } else { Some(Reading::default()) };
                    let last = last.map(|reading| reading.counts);
                    self.namespaces.insert(id, Namespace { pid, netns: None, last, read: 0 });
                }
            }
        }
        self.learn_numbers();
        let took = begun.elapsed();
        self.scan_cost = Some(took);
        self.next_scan = Instant::now() + SCAN_PERIOD.max(took * SCAN_COST);
    }

    /// Asks for the numbers of the namespaces that are new.
    fn learn_numbers(&mut self) {
        let Some(numbers) = &mut self.numbers else { return };
        if self.namespaces.values().all(|namespace| namespace.netns.is_some()) {
            return;
        }
        match numbers.find() {
            Ok(found) => {
                for (id, namespace) in &mut self.namespaces {
                    namespace.netns = found.by_devices.get(&id.number()).copied();
                }
                if found.left_out == 0 {
                    self.failures.reset();
                } else if let Some(silenced) = self.failures.speak() {
                    tracing::warn!(
                        left_out = found.left_out,
                        silenced,
                        "more network namespaces than can be audited"
                    );
                }
            }
            Err(error) => {
                if let Some(silenced) = self.failures.speak() {
                    tracing::warn!(%error, silenced, "new network namespaces are not audited");
                }
            }
        }
    }

    fn read_one(&mut self, id: Id) {
        let Some(namespace) = self.namespaces.get(&id) else { return };
        let (pid, last, netns) = (namespace.pid, namespace.last, namespace.netns);
        let Some(Reading { counts: now, snmp }) = self.counts(id, pid) else {
            // That process has gone. Another may be in the namespace yet.
            let gap = SOON.max(self.scan_cost.unwrap_or_default() * SOON_COST);
            self.next_scan = self.next_scan.min(Instant::now() + gap);
            return;
        };
        if let (Some(netns), Some(audit)) = (netns, &self.setting.audit) {
            audit.read(id.number(), netns, snmp);
        }
        let last = last.unwrap_or(now);
        // The kernel's counters do not fall: it is another namespace by the same number.
        let grown: Counts = std::array::from_fn(|at| now[at].checked_sub(last[at]).unwrap_or(now[at]));
        if grown != [0; COUNT] {
            self.charge(id, pid, &grown);
        }
        let readings = self.readings;
        if let Some(namespace) = self.namespaces.get_mut(&id) {
            (namespace.last, namespace.read) = (Some(now), readings);
        }
    }

    /// What the namespace has counted, as the process sees it; None if the process is not in it any more.
    fn counts(&mut self, id: Id, pid: u32) -> Option<Reading> {
        let net = namespaces::net(&self.setting.procfs, pid);
        let mut reading = Reading::default();
        for (file, columns) in ["snmp", "netstat"].into_iter().zip(&mut self.columns) {
            columns.read(&fs::read_to_string(net.join(file)).ok()?, &mut reading);
        }
        // Not there on a kernel without IPv6.
        add_lines(&fs::read_to_string(net.join("snmp6")).unwrap_or_default(), &mut reading);
        // Afterwards, for only then it is known whose counts they were.
        (namespaces::of(&self.setting.procfs, pid) == Some(id)).then_some(reading)
    }

    /// Adds to the workload that lives in the namespace now.
    fn charge(&mut self, id: Id, pid: u32, grown: &Counts) {
        let mut names = self.names(id, pid);
        if self.totals.len() >= self.setting.most && !self.totals.contains_key(&names) {
            names = ("".into(), "other".into());
        }
        let total = self.totals.entry(names).or_insert([0; COUNT]);
        for (total, grown) in total.iter_mut().zip(grown) {
            *total = total.saturating_add(*grown);
        }
    }

    fn names(&self, id: Id, pid: u32) -> Names {
        if self.host == Some(id) {
            return ("".into(), self.setting.host.as_str().into());
        }
        let directory = self.setting.procfs.join(pid.to_string());
        let name = fs::read_to_string(directory.join("comm")).unwrap_or_default();
        let groups = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        let owner = self.groups.owner(&groups, &name);
        let identity = self.setting.resolver.local(&owner);
        (identity.namespace, identity.workload)
    }
}
