// SPDX-License-Identifier: Apache-2.0
//! What the stub's threads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::access::Access;
use super::behaviour::{Behaviour, Fault, Scope};
use super::log::Log;
use super::resource::{Resource, Verb};
use super::status::Status;
use super::store::Store;

/// Something that open watches are told to do.
#[derive(Debug, Clone)]
pub(super) enum Order {
    /// Send this line as it is.
    Line(String),
    /// End as when the time is up.
    End,
    /// Break the connection.
    Break,
}

/// Everything the stub knows.
#[derive(Debug)]
pub(super) struct State {
    store: Mutex<Store>,
    behaviour: Mutex<Behaviour>,
    faults: Mutex<Vec<(Scope, Fault)>>,
    pub access: Mutex<Access>,
    pub log: Mutex<Log>,
    /// Bytes of bodies sent.
    pub sent: AtomicU64,
    changed: watch::Sender<()>,
    orders: broadcast::Sender<(Option<Resource>, Order)>,
    /// Whether anybody is answered at all.
    reachable: watch::Sender<bool>,
    /// Grows each time all connections are to be closed.
    epoch: watch::Sender<u64>,
}

impl State {
    pub fn new(version: u64) -> Self {
        State {
            store: Mutex::new(Store::new(version)),
            behaviour: Mutex::default(),
            faults: Mutex::default(),
            access: Mutex::default(),
            log: Mutex::default(),
            sent: AtomicU64::new(0),
            changed: watch::Sender::new(()),
            orders: broadcast::Sender::new(1024),
            reachable: watch::Sender::new(true),
            epoch: watch::Sender::new(0),
        }
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Changes the store and wakes whoever watches.
    pub fn change<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let result = work(&mut self.store());
        self.changed.send_replace(());
        result
    }

    pub fn behaviour(&self) -> Behaviour {
        lock(&self.behaviour).clone()
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.behaviour));
        self.changed.send_replace(());
    }

    pub fn fault(&self, resource: Resource, verb: Verb) -> Option<Fault> {
        let faults = lock(&self.faults);
        faults.iter().rev().find(|(scope, _)| scope.covers(resource, verb)).map(|(_, fault)| fault.clone())
    }

    pub fn add_fault(&self, scope: Scope, fault: Fault) {
        lock(&self.faults).push((scope, fault));
    }

    pub fn mend(&self) {
        lock(&self.faults).clear();
    }

    /// Tells of every change of the store or of the behaviour after this call.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn orders(&self) -> broadcast::Receiver<(Option<Resource>, Order)> {
        self.orders.subscribe()
    }

    pub fn order(&self, resource: Option<Resource>, order: Order) {
        // Nobody listening means that no watch is open.
        let _ = self.orders.send((resource, order));
    }

    /// Waits for a version, a little.
    pub async fn wait_for(&self, version: u64) -> Result<(), Status> {
        let deadline = tokio::time::Instant::now() + self.behaviour().future_patience;
        let mut changed = self.changed();
        loop {
            let current = self.store().version();
            if version <= current {
                return Ok(());
            }
            if !matches!(tokio::time::timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return Err(Status::too_large(version, current));
            }
        }
    }

    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.send_replace(reachable);
    }

    /// Returns at once, or when the network has mended.
    pub async fn until_reachable(&self) {
        // The sender lives as long as this call.
        let _ = self.reachable.subscribe().wait_for(|reachable| *reachable).await;
    }

    pub fn close_connections(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Tells when all connections are to be closed.
    pub fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A panic elsewhere leaves nothing half done in here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
