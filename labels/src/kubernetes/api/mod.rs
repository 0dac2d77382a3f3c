// SPDX-License-Identifier: Apache-2.0
//! Watches of the Kubernetes API: what they need to know goes to the tables, as it changes.
//!
//! kube gives the client: kubeconfigs, credentials, TLS. The watches themselves are made here. kube's own hold whole
//! pages, print whole answers when one is odd, ask again without a pause when a server ends watches at once, and go on
//! for ever from a version that the server has not come to yet.

mod access;
mod connection;
mod decode;
mod events;
mod failure;
mod health;
mod list;
mod owner;
mod probe;
mod scan;
#[cfg(test)]
mod testing;
mod thread;
mod timing;
mod watch;
mod wire;

pub use connection::{ConnectError, Connection, connection};
pub use probe::probe;
pub use thread::{Sinks, Watches};
