// SPDX-License-Identifier: Apache-2.0
//! An API server of Kubernetes as far as readers of pods, services, endpoint slices and nodes can tell.
//!
//! Written to the API's documentation (kubernetes.io, "Kubernetes API Concepts") and in the words of kube-apiserver:
//! chunked lists and their expiry, resource versions, watches with bookmarks, streaming lists, 410 Gone, tokens and
//! roles. It can be told to be an older server, and to fail in all the ways that networks and servers fail.

mod access;
mod behaviour;
mod body;
mod discovery;
mod kubeconfig;
mod list;
mod listener;
mod log;
pub mod objects;
mod options;
mod resource;
mod routes;
mod selector;
mod state;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub use access::Role;
pub use behaviour::{Behaviour, Ending, Fault, Gone, Scope, StreamingLists};
pub use kubeconfig::Kubeconfig;
pub use log::Asked;
use objects::Object;
pub use resource::{Resource, Verb};
use state::{Order, State, lock};
use store::{Key, Store};
use tls::Tls;

/// The token that may do all the product asks for.
pub const TOKEN: &str = "token-of-the-service-account";

/// The version at which a fresh stub begins.
const FIRST_VERSION: u64 = 100_000;

/// A running stub. It lives in the process that made it, on a loopback port of its own.
#[derive(Debug)]
pub struct ApiServer {
    state: Arc<State>,
    address: SocketAddr,
    tls: Option<Tls>,
    listening: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl ApiServer {
    /// Starts a stub over TLS, without any object, with [`TOKEN`] for a [`Role::reader`].
    pub fn start() -> Result<Self> {
        Self::with_tls(Some(Tls::new()?))
    }

    /// The same without TLS.
    pub fn start_plain() -> Result<Self> {
        Self::with_tls(None)
    }

    fn with_tls(tls: Option<Tls>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("api-server")
            .enable_all()
            .build()
            .context("starting the API server's thread")?;
        let state = Arc::new(State::new(FIRST_VERSION));
        lock(&state.access).grant(TOKEN, Role::reader());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = ApiServer { state, address, tls, listening: None, runtime };
        server.listen()?;
        Ok(server)
    }

    /// Listens again after [`Self::stop`], on the same port.
    pub fn listen(&mut self) -> Result<()> {
        ensure!(self.listening.is_none(), "the API server is listening already");
        let bound = self.runtime.block_on(TcpListener::bind(self.address));
        let listener = bound.with_context(|| format!("binding {}", self.address))?;
        self.address = listener.local_addr().context("asking for the port")?;
        let acceptor = self.tls.as_ref().map(|tls| tls.acceptor.clone());
        let accept = listener::accept(Arc::clone(&self.state), listener, acceptor);
        self.listening = Some(self.runtime.spawn(accept));
        Ok(())
    }

    /// Goes down: connections are closed and new ones refused. What is stored stays.
    pub fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            // The port is free only when the task is gone.
            let _ = self.runtime.block_on(listening);
        }
        self.close_connections();
    }

    /// Forgets every object and all history and goes on at this version, as a cluster restored from a backup does.
    pub fn restore(&self, version: u64) {
        self.state.change(|store| *store = Store::new(version));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// A kubeconfig with this token in it.
    pub fn kubeconfig(&self, token: &str) -> Result<Kubeconfig> {
        Kubeconfig::new(&self.url(), self.authority_pem(), token, false)
    }

    /// A kubeconfig with a file that this token is in, to be rotated.
    pub fn kubeconfig_with_token_file(&self, token: &str) -> Result<Kubeconfig> {
        Kubeconfig::new(&self.url(), self.authority_pem(), token, true)
    }

    /// The certificate of its authority.
    pub fn authority_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.authority_pem.as_str())
    }

    /// Lets a token in, or changes what it may do.
    pub fn grant(&self, token: &str, role: Role) {
        lock(&self.state.access).grant(token, role);
    }

    /// Does not know a token any more.
    pub fn revoke(&self, token: &str) {
        lock(&self.state.access).revoke(token);
    }

    /// Creates or replaces an object; returns its version.
    pub fn put(&self, object: impl Into<Object>) -> u64 {
        let history = self.state.behaviour().history;
        let object = object.into();
        self.state.change(|store| store.put(object, history))
    }

    /// Deletes an object.
    pub fn delete(&self, object: impl Into<Object>) -> Result<u64> {
        let object = object.into();
        let key = Key { namespace: object.namespace().to_owned(), name: object.name().to_owned() };
        let history = self.state.behaviour().history;
        let version = self.state.change(|store| store.delete(object.resource, &key, history));
        version.with_context(|| {
            format!("{} {}/{} is not there", object.resource.kind(), key.namespace, key.name)
        })
    }

    /// The current version.
    pub fn version(&self) -> u64 {
        self.state.store().version()
    }

    /// A change of something that is not served here: the version grows, nobody is told.
    pub fn change_elsewhere(&self) -> u64 {
        self.state.change(Store::elsewhere)
    }

    /// Forgets all changes so far: watches that go on from before are told that they are too late.
    pub fn compact(&self) {
        self.state.change(Store::compact);
    }

    /// Makes it another kind of server, from the next request on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.state.behave(change);
    }

    /// Something goes wrong with requests from now on. Of several faults the latest counts.
    pub fn fail(&self, scope: Scope, fault: Fault) {
        self.state.add_fault(scope, fault);
    }

    /// Ends all faults.
    pub fn mend(&self) {
        self.state.mend();
    }

    /// Swallows everything, as a network that is gone does: connections can be made, but nothing is answered, and open
    /// watches say nothing more. What was swallowed is answered when it is switched off.
    pub fn black_hole(&self, on: bool) {
        self.state.set_reachable(!on);
    }

    /// Sends a line of any kind to whoever watches (a resource, or anything).
    pub fn send_line(&self, resource: Option<Resource>, line: &str) {
        self.state.order(resource, Order::Line(line.to_owned()));
    }

    /// Ends watches in an orderly way.
    pub fn end_watches(&self, resource: Option<Resource>) {
        self.state.order(resource, Order::End);
    }

    /// Breaks the connections of watches.
    pub fn break_watches(&self, resource: Option<Resource>) {
        self.state.order(resource, Order::Break);
    }

    /// Closes all connections, whatever they are doing.
    pub fn close_connections(&self) {
        self.state.close_connections();
    }

    /// What has been asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked_since(0)
    }

    /// The same without the first `skip` requests.
    pub fn asked_since(&self, skip: usize) -> Vec<Asked> {
        lock(&self.state.log).since(skip)
    }

    /// How many requests there were for a resource with a verb.
    pub fn count(&self, resource: Resource, verb: Verb) -> usize {
        self.asked().iter().filter(|request| request.is(resource, verb)).count()
    }

    /// How many watches of a resource are open.
    pub fn open_watches(&self, resource: Resource) -> usize {
        self.asked().iter().filter(|request| request.open && request.is(resource, Verb::Watch)).count()
    }

    /// Bytes of bodies sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.state.sent()
    }

    /// Waits until what was asked is as said.
    pub fn wait_until(
        &self,
        wanted: &str,
        patience: Duration,
        done: impl Fn(&[Asked]) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !done(&self.asked()) {
            ensure!(
                Instant::now() < deadline,
                "wanted {wanted}, but after {patience:?}:\n{:#?}",
                self.asked()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
