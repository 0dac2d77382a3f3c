// SPDX-License-Identifier: Apache-2.0
//! Names from the Kubernetes API.

mod api;
#[allow(dead_code, reason = "nothing takes it yet")]
mod objects;

pub use api::{ConnectError, Connection, Sinks, Watches, connection, probe};
