// SPDX-License-Identifier: Apache-2.0
//! Where this machine runs, from its provider's metadata service: `--labels.cloud-metadata`. What is asked: `docs/cloud.md`.
//!
//! Asked once, on a thread of its own, so that nothing waits for it. Unless the operator says which provider it is, the
//! machine's own firmware must: elsewhere nothing is sent.

mod aws;
mod azure;
mod dmi;
mod google;
mod http;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::timeout;

use super::Provider;
use crate::status::SourceStatus;
use http::Service;
pub use http::{Endpoint, EndpointError};

/// The name of this source.
const SOURCE: &str = "cloud_metadata";

/// For all requests together. The services answer within milliseconds, or are not there.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whom to ask; the values of `--labels.cloud-metadata`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MetadataMode {
    /// The provider that the firmware names, if it names one.
    #[default]
    Auto,
    /// Nobody.
    Off,
    /// This one.
    Only(Provider),
}

/// Whom to ask, and where.
#[derive(Clone, Default, Debug)]
pub struct MetadataConfig {
    /// `--labels.cloud-metadata`
    pub mode: MetadataMode,
    /// `--labels.cloud-metadata.endpoint`
    pub endpoint: Endpoint,
}

/// What a provider tells a virtual machine of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Who told.
    pub provider: Provider,
    /// The provider's id of this machine; empty if it does not tell.
    pub id: Arc<str>,
    /// Availability zone, spelled as the provider's Kubernetes nodes have it; empty for a machine of Azure in no zone.
    pub zone: Arc<str>,
    /// Region; empty if it is not told.
    pub region: Arc<str>,
}

#[derive(Debug)]
enum State {
    /// Nobody is asked: by the flag, or because the firmware names no provider.
    Nobody,
    Asking(Provider),
    Known(Instance),
    Failed(Provider, String),
}

/// The one attempt, and what came of it.
#[derive(Debug)]
pub(crate) struct Metadata {
    config: MetadataConfig,
    sysfs: PathBuf,
    state: RwLock<State>,
    /// Set when an answer has come and nobody was told.
    news: AtomicBool,
}

impl Metadata {
    /// Asks nobody yet.
    pub fn new(config: MetadataConfig, sysfs: PathBuf) -> Self {
        Metadata { config, sysfs, state: RwLock::new(State::Nobody), news: AtomicBool::new(false) }
    }

    /// Begins to ask, on a thread `cloud-metadata` that calls `confine` first. Does nothing while an answer is awaited
    /// or there is one.
    pub fn ask(self: &Arc<Self>, confine: impl FnOnce() + Send + 'static) {
        let mut state = self.state.write();
        if matches!(*state, State::Asking(_) | State::Known(_)) {
            return;
        }
        let Ok(provider) = whom(self.config.mode, &self.sysfs) else { return };
        *state = State::Asking(provider);
        let this = Arc::clone(self);
        let asking = thread::Builder::new().name("cloud-metadata".to_owned()).spawn(move || {
            confine();
            let answer = ask(provider, &this.config.endpoint);
            this.learn(provider, answer);
        });
        if let Err(error) = asking {
            *state = State::Failed(provider, format!("no thread to ask the metadata service: {error}"));
        }
    }

    fn learn(&self, provider: Provider, answer: Result<Instance, String>) {
        let state = match answer {
            Ok(instance) => {
                let Instance { id, zone, region, .. } = &instance;
                tracing::info!(
                    provider = provider.as_str(),
                    instance = %id,
                    %zone,
                    %region,
                    "the metadata service told where this machine runs"
                );
                State::Known(instance)
            }
            Err(error) => {
                let asked = provider.as_str();
                tracing::warn!(
                    provider = asked,
                    error,
                    "the metadata service did not tell where this machine runs"
                );
                State::Failed(provider, error)
            }
        };
        *self.state.write() = state;
        self.news.store(true, Ordering::Release);
    }

    /// True once after an answer has come.
    pub fn take_news(&self) -> bool {
        self.news.load(Ordering::Acquire) && self.news.swap(false, Ordering::AcqRel)
    }

    /// What the provider told, if it did.
    pub fn instance(&self) -> Option<Instance> {
        match &*self.state.read() {
            State::Known(instance) => Some(instance.clone()),
            _ => None,
        }
    }

    /// True if the last attempt failed.
    pub fn failed(&self) -> bool {
        matches!(*self.state.read(), State::Failed(..))
    }

    /// How it went; None if nobody was asked.
    pub fn status(&self) -> Option<SourceStatus> {
        let (up, detail) = match &*self.state.read() {
            State::Nobody => return None,
            State::Asking(provider) => (false, format!("asking {}", provider.as_str())),
            State::Known(instance) => (true, summary(instance)),
            State::Failed(provider, error) => (false, format!("{}: {error}", provider.as_str())),
        };
        Some(SourceStatus { entries: u64::from(up), ..SourceStatus::new(SOURCE, up, detail) })
    }
}

/// Whom the exporter asks, for `flowgauge check`.
///
/// # Errors
/// Why nobody is asked.
pub fn cloud_provider(config: &MetadataConfig, sysfs: &Path) -> Result<Provider, String> {
    whom(config.mode, sysfs)
}

fn summary(instance: &Instance) -> String {
    let Instance { provider, id, zone, region } = instance;
    format!("{}: instance {id:?} in zone {zone:?}, region {region:?}", provider.as_str())
}

/// Whom to ask, or why nobody.
fn whom(mode: MetadataMode, sysfs: &Path) -> Result<Provider, String> {
    match mode {
        MetadataMode::Off => Err("switched off by --labels.cloud-metadata=off".to_owned()),
        MetadataMode::Only(provider) => Ok(provider),
        MetadataMode::Auto => dmi::provider(sysfs).ok_or_else(|| {
            format!(
                "{} names no provider that is known: nobody is asked",
                sysfs.join(dmi::DIRECTORY).display()
            )
        }),
    }
}

/// One attempt. Blocks for [`TIMEOUT`] at most.
fn ask(provider: Provider, endpoint: &Endpoint) -> Result<Instance, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("cloud-metadata-io")
        .max_blocking_threads(1)
        .build()
        .map_err(|error| format!("cannot be asked: {error}"))?;
    let service = Service::new(endpoint.clone(), TIMEOUT);
    let answer = async {
        match provider {
            Provider::Aws => aws::ask(&service).await,
            Provider::Google => google::ask(&service).await,
            Provider::Azure => azure::ask(&service).await,
        }
    };
    let answer = runtime.block_on(async { timeout(TIMEOUT, answer).await });
    // Does not wait for a host name that is still looked for.
    runtime.shutdown_background();
    answer.unwrap_or_else(|_| Err(format!("no complete answer from {endpoint} within {TIMEOUT:?}")))
}

/// A name that a service told, if it looks like one: what it says becomes label values.
fn name(what: &str, text: &str) -> Result<Arc<str>, String> {
    const MAX_BYTES: usize = 128;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > MAX_BYTES || !text.chars().all(allowed) {
        let told: String = text.chars().take(40).collect();
        return Err(format!("{what}: {told:?} is no name"));
    }
    Ok(text.into())
}
