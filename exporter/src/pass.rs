// SPDX-License-Identifier: Apache-2.0
//! The thread that owns the probes: one pass for each scrape that asks, and small ones when nobody does.
//!
//! Everything that needs a privilege happens here; the threads that serve have none.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use flowgauge_labels::{Conntrack, Resolver};
use flowgauge_probes::tcp::{Health, PassReport};
use flowgauge_probes::{cgroups, drops, packets};
use parking_lot::{Mutex, MutexGuard};

use crate::dns::Messages;
use crate::flows::Flows;
use crate::http2::{Http2, Http2State};
use crate::ledger::Ledger;
use crate::naming::Naming;
use crate::new_groups::{GroupsState, NewGroups};
use crate::post::Post;
use crate::probes::{ProbePlan, Probes, Storage};
use crate::quiet::Quiet;
use crate::waker::Waker;

/// How often the kernel's maps are looked after when nobody scrapes.
const TEND: Duration = Duration::from_secs(1);

/// How often it is looked whether an address has changed hands, and translations are taken in, where there is a cluster.
const TICK: Duration = Duration::from_millis(100);

/// How long the first pass that knows of Services waits for the host's translations to be listed: 50,000 take 0.1 s.
const LISTING: Duration = Duration::from_millis(500);

/// A pass for the sake of an address that changed hands is followed by none for this many times what it took: 5 % of the
/// time at worst.
const SETTLING_COST: u32 = 20;

/// Flow keys that may come to those held after a pass before another is made without a scrape, so that memory stays
/// bounded.
const KEYS_UNREPORTED: usize = 100_000;

/// How long nobody may scrape before a pass is made all the same: 32-bit counters of the kernel wrap, and only passes
/// notice.
const LONGEST_UNREAD: Duration = Duration::from_secs(300);

/// The same with the drill-down by address, whose windows are made of passes: a little more than the longest interval in which
/// Prometheus commonly scrapes, so that whoever is scraped makes no pass for it.
const LONGEST_UNREAD_FLOWS: Duration = Duration::from_secs(75);

/// What the pass thread shares with those that serve.
pub struct Shared {
    /// The totals.
    pub ledger: Mutex<Ledger>,
    /// What was counted by address; None if nobody wants it. Locked after the ledger.
    pub flows: Option<Mutex<Flows>>,
    /// How the probe fares.
    pub state: Mutex<ProbeState>,
}

impl Shared {
    /// What was counted by address, to be added to: what is counted now is of now.
    fn flows_now(&self) -> Option<MutexGuard<'_, Flows>> {
        let mut flows = self.flows.as_ref()?.lock();
        flows.set_now(Instant::now());
        Some(flows)
    }
}

/// How the probes fare, as of the last pass.
#[derive(Debug, Clone, Default)]
pub struct ProbeState {
    /// Why the TCP probe could not be loaded.
    pub tcp_failed: Option<String>,
    /// Why the packet probe could not be loaded.
    pub packets_failed: Option<String>,
    /// How the packet probe fares, while it runs.
    pub packets: Option<PacketState>,
    /// Why the drops probe could not be loaded.
    pub drops_failed: Option<String>,
    /// How the drops probe fares, while it runs.
    pub drops: Option<DropState>,
    /// The TCP probe's kernel-side health.
    pub health: Health,
    /// The last pass that did not fail.
    pub last: PassReport,
    /// Passes made since the start, those without a scrape included.
    pub passes: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Flow keys held.
    pub keys: usize,
    /// The TCP probe's last error, while it lasts.
    pub error: Option<String>,
    /// How the news of control groups fare; None before the first pass.
    pub groups: Option<GroupsState>,
}

/// How the packet probe fares.
#[derive(Debug, Clone, Default)]
pub struct PacketState {
    /// Kernel-side health.
    pub health: packets::Health,
    /// The last error, while it lasts.
    pub error: Option<String>,
    /// HTTP/2 connections.
    pub http2: Http2State,
}

/// How the drops probe fares.
#[derive(Debug, Clone)]
pub struct DropState {
    /// Kernel-side health.
    pub health: drops::Health,
    /// The last error, while it lasts.
    pub error: Option<String>,
}

/// Where names come from.
pub struct Sources {
    /// Names.
    pub resolver: Arc<Resolver>,
    /// Translations of the host, where Services are dialled.
    pub conntrack: Option<Arc<Conntrack>>,
    /// There is a cluster, in which addresses change hands.
    pub in_cluster: bool,
}

enum Request {
    Pass(SyncSender<Result<(), String>>),
    /// The ring of HTTP/2 frames fills.
    Drain,
    Reload(SyncSender<()>),
}

/// Why nothing came of asking the thread.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The kernel refused the pass; what was counted is kept for the next one.
    #[error("{0}")]
    Failed(String),
    /// The thread has ended before its time: nothing will be measured any more.
    #[error("the probes thread has died")]
    Dead,
}

/// A running pass thread. Dropping it ends the thread and detaches the programs.
pub struct PassThread {
    requests: Option<SyncSender<Request>>,
    waker: Option<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl PassThread {
    /// Starts the thread, loads and attaches the probes and takes the baseline. A probe that cannot be loaded is told by
    /// [`ProbeState`].
    ///
    /// # Errors
    /// When the thread cannot be started, or died.
    pub fn start(
        plan: ProbePlan,
        sources: Sources,
        naming: Naming,
        messages: Messages,
        shared: Arc<Shared>,
        confine: impl FnOnce() + Send + 'static,
        confine_waker: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (requests, receiver) = sync_channel(4);
        let (started, answer) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("probes".to_owned())
            .spawn(move || {
                let (mut storage, mut group_storage) = (Storage::default(), cgroups::Storage::default());
                let groups = NewGroups::start(&mut group_storage, plan.hierarchy, &sources.resolver);
                let probes = Probes::load(&mut storage, &plan, &mut shared.state.lock());
                confine();
                let mut worker = Worker {
                    probes,
                    groups,
                    sources,
                    services: 0,
                    naming,
                    messages,
                    http2: Http2::new(),
                    shared,
                    passed: Instant::now(),
                    tended: Instant::now(),
                    may_settle: Instant::now(),
                    keys_reported: 0,
                    failures: Quiet::default(),
                };
                // What is wrong with it is told as with any other pass.
                let first = worker.pass();
                worker.report(first);
                if started.send(worker.http2_ring()).is_ok() {
                    worker.run(&receiver);
                }
            })
            .context("starting the probes thread")?;
        let ring = answer.recv().map_err(|_| anyhow!("the probes thread died while it loaded the probes"))?;
        let waker = ring.map(|ring| {
            let requests = requests.clone();
            // One that waits already does for this one as well.
            let wake =
                move || !matches!(requests.try_send(Request::Drain), Err(TrySendError::Disconnected(_)));
            Waker::start(ring, wake, confine_waker).context("starting the waker thread")
        });
        Ok(Self { requests: Some(requests), waker: waker.transpose()?, thread: Some(thread) })
    }

    /// Makes a pass and waits for it.
    ///
    /// # Errors
    /// When the pass failed or the thread has died.
    pub fn pass(&self) -> Result<(), AskError> {
        self.ask(Request::Pass)?.map_err(AskError::Failed)
    }

    /// Reads the names file again, with the privileges that this thread kept.
    ///
    /// # Errors
    /// When the thread has died.
    pub fn reload(&self) -> Result<(), AskError> {
        self.ask(Request::Reload)
    }

    fn ask<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> Result<T, AskError> {
        let (reply, answer) = sync_channel(1);
        let requests = self.requests.as_ref().ok_or(AskError::Dead)?;
        requests.send(request(reply)).map_err(|_| AskError::Dead)?;
        answer.recv().map_err(|_| AskError::Dead)
    }
}

impl Drop for PassThread {
    fn drop(&mut self) {
        // The thread ends when nobody can ask any more.
        drop(self.waker.take());
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the probes thread panicked");
        }
    }
}

struct Worker<'o> {
    probes: Probes<'o>,
    groups: NewGroups<'o>,
    sources: Sources,
    /// The version of the Services' addresses that the probe knows.
    services: u64,
    naming: Naming,
    /// What samples of DNS messages tell.
    messages: Messages,
    /// What is known of HTTP/2 connections.
    http2: Http2,
    shared: Arc<Shared>,
    /// When the last pass ended that did not fail.
    passed: Instant,
    /// When the kernel's maps were looked after last.
    tended: Instant,
    /// From when on a pass may be made because an address changed hands.
    may_settle: Instant,
    /// Flow keys held after it.
    keys_reported: usize,
    /// Of looking after the kernel's maps.
    failures: Quiet,
}

impl Worker<'_> {
    fn run(mut self, requests: &Receiver<Request>) {
        let tick = if self.sources.in_cluster { TICK } else { TEND };
        loop {
            match requests.recv_timeout(tick) {
                Ok(Request::Pass(reply)) => {
                    let result = self.pass().map_err(|error| format!("{error:#}"));
                    // Whoever asked may have gone.
                    let _ = reply.send(result);
                }
                Ok(Request::Drain) => self.drain_http2(),
                Ok(Request::Reload(reply)) => {
                    self.sources.resolver.reload();
                    let _ = reply.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What becomes readable when HTTP/2 frames wait; None if none are wanted.
    fn http2_ring(&self) -> Option<OwnedFd> {
        let ring = self.probes.packets.as_ref()?.http2_waits();
        ring.inspect_err(|error| tracing::warn!(%error, "HTTP/2 frames may be lost")).ok()?
    }

    fn drain_http2(&mut self) {
        let Some(probe) = &mut self.probes.packets else { return };
        let mut ledger = self.shared.ledger.lock();
        let mut flows = self.shared.flows_now();
        let mut post = Post::new(&mut ledger, &mut self.naming)
            .with_http2(&mut self.http2)
            .with_flows(flows.as_deref_mut());
        let drained = probe.hand_out_http2(&mut post);
        ledger.finish();
        drop((ledger, flows));
        self.report(drained.map_err(Into::into));
    }

    /// Between requests: what cannot wait for the next pass.
    fn tick(&mut self) {
        if let Some(conntrack) = &self.sources.conntrack {
            conntrack.drain();
        }
        if self.sources.resolver.needs_settling() && Instant::now() >= self.may_settle {
            let result = self.pass();
            self.report(result);
        }
        if self.tended.elapsed() >= TEND {
            self.tended = Instant::now();
            self.tend();
        }
    }

    fn pass(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.refresh_names();
        let learned = self.learn_services();
        // Who has lost an address is charged with what this pass finds; who got it, with what comes after.
        let settles = self.sources.resolver.needs_settling();
        let departures = self.sources.resolver.departures();
        let mut ledger = self.shared.ledger.lock();
        ledger.begin(Instant::now());
        let mut flows = self.shared.flows_now();
        if let Some(flows) = &mut flows {
            flows.begin(Instant::now());
        }
        let mut post = Post::new(&mut ledger, &mut self.naming)
            .with_messages(&mut self.messages)
            .with_http2(&mut self.http2)
            .with_flows(flows.as_deref_mut());
        // What clients were told by DNS names the servers of their connections, and who listens is known after TCP's pass.
        let names = self.probes.packets.as_mut().map_or(Ok(()), |probe| probe.hand_out_samples(&mut post));
        let tcp = self.probes.tcp.as_mut().map(|probe| probe.pass(&mut post)).transpose();
        let packets = self.probes.packets.as_mut().map_or(Ok(()), |probe| probe.pass(&mut post));
        post.conclude();
        // After TCP's, which tells who listens and who opened what.
        let drops = self.probes.take_drops(&mut post);
        let packets = names.and(packets);
        if let Some(frequency) = self.probes.tcp.as_ref().and_then(|probe| probe.timer_frequency()) {
            ledger.set_frequency(frequency);
        }
        if tcp.is_ok() {
            ledger.whole();
            if let Some(flows) = &mut flows {
                flows.whole();
            }
            self.passed = Instant::now();
            self.keys_reported = self.probes.tcp_keys();
        }
        ledger.finish();
        drop((ledger, flows));
        // Without it, connections to Services go without a backend; the next pass tries again.
        let tcp = tcp.map_err(anyhow::Error::from).and_then(|report| learned.map(|()| report));
        let packets = packets.map_err(anyhow::Error::from);
        if tcp.is_ok() && packets.is_ok() {
            self.sources.resolver.set_reported(departures);
            if settles {
                self.sources.resolver.settle();
            }
        }
        self.may_settle = Instant::now() + begun.elapsed() * SETTLING_COST;
        let mut state = self.shared.state.lock();
        state.passes += 1;
        state.failures += u64::from(tcp.is_err() || packets.is_err() || drops.is_err());
        state.groups = Some(self.groups.state());
        if let Some(probe) = &self.probes.tcp {
            state.health = probe.health();
            state.keys = probe.keys();
            state.error = tcp.as_ref().err().map(ToString::to_string);
        }
        let http2 = self.http2.state();
        state.packets = self.probes.packets.as_ref().map(|probe| PacketState {
            health: probe.health(),
            error: packets.as_ref().err().map(ToString::to_string),
            http2,
        });
        state.drops = self.probes.drops.as_ref().map(|probe| DropState {
            health: probe.health(),
            error: drops.as_ref().err().map(ToString::to_string),
        });
        state.last = tcp?.unwrap_or_default();
        packets.and(drops.map_err(Into::into))
    }

    /// Before anything is named.
    fn refresh_names(&mut self) {
        self.groups.hand_over(&self.sources.resolver);
        self.sources.resolver.refresh();
    }

    /// Tells the probe at which addresses Services are dialled, if that has changed.
    fn learn_services(&mut self) -> anyhow::Result<()> {
        let Some(conntrack) = &self.sources.conntrack else { return Ok(()) };
        if let Some((version, all)) = self.sources.resolver.service_addresses(self.services) {
            // Connections older than the exporter are in the table only; each is asked for once.
            if self.services == 0 {
                conntrack.settle(LISTING);
            }
            let all: Vec<_> = all.into_iter().collect();
            if let Some(probe) = &mut self.probes.tcp {
                probe.add_services(all.iter().copied())?;
            }
            if let Some(probe) = &mut self.probes.packets {
                probe.add_services(all)?;
            }
            self.services = version;
        }
        Ok(())
    }

    /// Keeps what waits bounded: the kernel's map by draining it, our own by a pass.
    fn tend(&mut self) {
        self.refresh_names();
        if let Some(conntrack) = &self.sources.conntrack {
            conntrack.refresh();
        }
        // Not only at a pass: connections to a new Service that end before the next scrape would have no backend.
        let learned = self.learn_services();
        let relieved = self.relieve();
        self.report(relieved.and(learned));
    }

    /// A pass or less, if something fills up; and what cannot wait: answers that name addresses, queries that time out.
    fn relieve(&mut self) -> anyhow::Result<()> {
        let longest = if self.shared.flows.is_some() { LONGEST_UNREAD_FLOWS } else { LONGEST_UNREAD };
        if pass_is_due(self.probes.tcp_keys(), self.keys_reported, self.passed.elapsed(), longest) {
            return self.pass();
        }
        let mut ledger = self.shared.ledger.lock();
        let mut flows = self.shared.flows_now();
        let mut post = Post::new(&mut ledger, &mut self.naming)
            .with_messages(&mut self.messages)
            .with_http2(&mut self.http2)
            .with_flows(flows.as_deref_mut());
        let tcp = match &mut self.probes.tcp {
            Some(probe) if probe.is_filling() => probe.drain_closed(&mut post).map(drop),
            _ => Ok(()),
        };
        let packets = self.probes.packets.as_mut().map_or(Ok(()), |probe| probe.tend(&mut post));
        let drops = match &self.probes.drops {
            Some(probe) if probe.is_filling() => self.probes.take_drops(&mut post),
            _ => Ok(()),
        };
        // What was drained may have brought new edges.
        ledger.finish();
        tcp.and(packets).and(drops).map_err(Into::into)
    }

    fn report(&mut self, result: anyhow::Result<()>) {
        match result {
            Err(error) => {
                if let Some(silenced) = self.failures.speak() {
                    tracing::error!(error = %format_args!("{error:#}"), silenced, "cannot drain the kernel's maps");
                }
            }
            Ok(()) => {
                if self.failures.reset() {
                    tracing::info!("the kernel's maps are drained again");
                }
            }
        }
    }
}

/// Whether a pass must be made though nobody scrapes.
fn pass_is_due(keys: usize, keys_reported: usize, since: Duration, longest: Duration) -> bool {
    keys.saturating_sub(keys_reported) > KEYS_UNREPORTED || since >= longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_died_is_told_from_a_pass_that_failed() {
        let (requests, receiver) = sync_channel(4);
        let thread = std::thread::spawn(move || {
            // One pass that fails, one during which the thread ends, and nobody after that.
            if let Ok(Request::Pass(reply)) = receiver.recv() {
                reply.send(Err("no memory".to_owned())).unwrap();
            }
            receiver.recv().unwrap();
        });
        let thread = PassThread { requests: Some(requests), waker: None, thread: Some(thread) };
        assert!(matches!(thread.pass(), Err(AskError::Failed(reason)) if reason == "no memory"));
        assert!(matches!(thread.pass(), Err(AskError::Dead)));
        assert!(matches!(thread.pass(), Err(AskError::Dead)));
        assert!(matches!(thread.reload(), Err(AskError::Dead)));
    }

    #[test]
    fn a_pass_is_due_for_many_new_keys_or_after_a_while() {
        let second = Duration::from_secs(1);
        let pass_is_due =
            |keys, keys_reported, since| pass_is_due(keys, keys_reported, since, LONGEST_UNREAD);
        assert!(!pass_is_due(KEYS_UNREPORTED, 0, second));
        assert!(pass_is_due(KEYS_UNREPORTED + 1, 0, second));
        assert!(!pass_is_due(900_000, 850_000, second), "many live sockets alone are no reason");
        assert!(!pass_is_due(10, 900_000, second), "fewer than before");
        assert!(!pass_is_due(0, 0, LONGEST_UNREAD - second));
        assert!(pass_is_due(0, 0, LONGEST_UNREAD));
    }
}
