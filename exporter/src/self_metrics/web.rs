// SPDX-License-Identifier: Apache-2.0
//! Who was turned away and why, and whether the web configuration is the one in the file.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;

use crate::source::{Family, FamilyKind, Unit};

/// In the order they are exposed.
pub static FAMILIES: &[&Family] = &[CONNECTIONS, REFUSALS, RELOAD_GOOD, RELOAD_TIME];

const CONNECTIONS: &Family = &Family {
    name: "web_connections",
    kind: FamilyKind::Gauge,
    unit: None,
    help: "Connections of HTTP clients to the exporter that are open, handshakes included.",
    labels: &[],
    edge: false,
    source: "The exporter itself.",
    buckets: "",
};

const REFUSALS: &Family = &Family {
    name: "web_refusals",
    kind: FamilyKind::Counter,
    unit: None,
    help: "Clients of the exporter that were turned away before anything was served to them, by reason.",
    labels: &["reason"],
    edge: false,
    source: "The exporter itself; docs/web.md tells the reasons.",
    buckets: "",
};

const RELOAD_GOOD: &Family = &Family {
    name: "web_config_last_reload_successful",
    kind: FamilyKind::Gauge,
    unit: None,
    help: "Whether the web configuration in force is the one in its file: 1, or 0 when the file was refused the last time it was read; served with --web.config.file.",
    labels: &[],
    edge: false,
    source: "The exporter itself.",
    buckets: "",
};

const RELOAD_TIME: &Family = &Family {
    name: "web_config_last_reload_success_timestamp_seconds",
    kind: FamilyKind::Gauge,
    unit: Some(Unit::Seconds),
    help: "When the web configuration in force was read; served with --web.config.file.",
    labels: &[],
    edge: false,
    source: "The system's clock.",
    buckets: "",
};

/// Why a client was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The TLS handshake failed, or did not begin as one.
    Handshake,
    /// The TLS handshake took too long.
    HandshakeTimeout,
    /// No or wrong credentials.
    Credentials,
    /// Too many passwords to look at.
    PasswordsBusy,
    /// The rate limit of the web configuration.
    RateLimit,
    /// The request had a body.
    Body,
    /// The connection waited longest when there were too many.
    ConnectionLimit,
    /// What was received is no request, or came too slowly, or the answer was taken too slowly.
    Malformed,
}

const REASONS: [&str; 8] = [
    "tls_handshake",
    "tls_handshake_timeout",
    "credentials",
    "passwords_busy",
    "rate_limit",
    "body",
    "connection_limit",
    "malformed_or_slow",
];

/// How the web configuration was read the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Good,
    /// It was refused.
    Bad,
}

/// Counts what the web side turns away. One for the whole program.
#[derive(Debug, Default)]
pub struct WebMetrics {
    connections: AtomicI64,
    refusals: [Counter; REASONS.len()],
    /// 0: there is no file; 1: refused; 2: in force.
    reload: AtomicU8,
    reloaded_ms: AtomicU64,
}

impl WebMetrics {
    /// A client was turned away.
    pub fn refuse(&self, refusal: Refusal) {
        self.refusals[refusal as usize].inc();
    }

    /// A connection is open until what is returned is dropped.
    pub fn connection(&self) -> impl Drop + '_ {
        struct Open<'a>(&'a AtomicI64);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        self.connections.fetch_add(1, Relaxed);
        Open(&self.connections)
    }

    /// The web configuration was read.
    pub fn reloaded(&self, reload: Reload, now: SystemTime) {
        if reload == Reload::Good {
            let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.reloaded_ms.store(since.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
        }
        self.reload.store(if reload == Reload::Good { 2 } else { 1 }, Relaxed);
    }

    /// Writes [`FAMILIES`].
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        CONNECTIONS.describe(encoder)?.encode_gauge(&self.connections.load(Relaxed))?;
        let mut refusals = REFUSALS.describe(encoder)?;
        for (reason, counter) in REASONS.iter().zip(&self.refusals) {
            counter.encode(refusals.encode_family(&[("reason", *reason)])?)?;
        }
        let reload = self.reload.load(Relaxed);
        if reload > 0 {
            RELOAD_GOOD.describe(encoder)?.encode_gauge(&i64::from(reload == 2))?;
            let seconds = self.reloaded_ms.load(Relaxed) as f64 / 1e3;
            RELOAD_TIME.describe(encoder)?.encode_gauge(&seconds)?;
        }
        Ok(())
    }
}
