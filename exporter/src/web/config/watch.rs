// SPDX-License-Identifier: Apache-2.0
//! Which file is in force: read at the start, again when it or a file that it names has changed, and on SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use flowgauge_labels::Signature;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{ConfigError, WebConfig};
use crate::self_metrics::{Reload, WebMetrics};
use crate::source::{ComponentStatus, State};

/// How often the files are looked at. One that changes is read when it has held still that long, so that a certificate is
/// never taken without its key.
const INTERVAL: Duration = Duration::from_secs(1);

type Signatures = Vec<(PathBuf, Option<Signature>)>;

/// What is in force.
pub struct Settings {
    current: watch::Sender<Arc<WebConfig>>,
    file: Option<Mutex<File>>,
    metrics: Arc<WebMetrics>,
    requests: Mutex<Option<SyncSender<SyncSender<()>>>>,
}

struct File {
    path: PathBuf,
    /// As they were when last read, whether they were good or not.
    read: Signatures,
    /// As they were when last looked at.
    seen: Signatures,
    error: Option<String>,
}

impl Settings {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: Option<&Path>, metrics: Arc<WebMetrics>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            let current = watch::Sender::default();
            return Ok(Self { current, file: None, metrics, requests: Mutex::default() });
        };
        let (read, config) = load(path);
        let config = config?;
        metrics.reloaded(Reload::Good, SystemTime::now());
        let file = File { path: path.to_owned(), seen: read.clone(), read, error: None };
        let file = Some(Mutex::new(file));
        Ok(Self { current: watch::Sender::new(Arc::new(config)), file, metrics, requests: Mutex::default() })
    }

    /// What is in force, and news of it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<WebConfig>> {
        self.current.subscribe()
    }

    /// Starts the thread that looks after the files; it calls `confine` first. None is needed without a file.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(self: &Arc<Self>, confine: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let config = Arc::clone(&self.current.borrow());
        tell(&file.lock().path, &config);
        let (sender, receiver) = sync_channel(1);
        // The thread ends with whoever asks it.
        let this = Arc::downgrade(self);
        let body = move || {
            confine();
            while wait(&receiver, |asked| this.upgrade().map(|settings| settings.refresh(asked))) {}
        };
        std::thread::Builder::new()
            .name("web-config".to_owned())
            .spawn(body)
            .context("starting the web-config thread")?;
        *self.requests.lock() = Some(sender);
        Ok(())
    }

    /// Has the files read again now, and waits for it.
    pub fn reload(&self) {
        let sender = self.requests.lock().clone();
        let Some(sender) = sender else { return };
        let (done, waiting) = sync_channel(1);
        if sender.send(done).is_err() || waiting.recv().is_err() {
            error!("the web-config thread has died; what was in force stays");
        }
    }

    /// For the landing page; None without a file.
    pub fn status(&self) -> Option<ComponentStatus> {
        let file = self.file.as_ref()?.lock();
        let config = Arc::clone(&self.current.borrow());
        let ignored = config.ignored.iter().map(|sentence| format!("; {sentence}"));
        let in_force = config.summary() + &ignored.collect::<String>();
        let (state, detail) = match &file.error {
            None => (State::Up, in_force),
            Some(error) => (State::Failed, format!("{error}; in force stays: {in_force}")),
        };
        Some(ComponentStatus { kind: "web", name: "config".to_owned(), state, detail })
    }

    /// Reads the files again if they have changed and hold still, or if somebody asked.
    fn refresh(&self, asked: bool) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock();
        let now: Signatures = file.read.iter().map(|(path, _)| (path.clone(), signature(path))).collect();
        let settled = now == file.seen;
        let changed = now != file.read;
        file.seen = now;
        if !(asked || changed && settled) {
            return;
        }
        let (read, config) = load(&file.path);
        // A disk that was full must not open the door.
        let emptied = |config: &WebConfig| config.blank && !self.current.borrow().blank;
        let config = match config {
            Ok(config) if emptied(&config) => Err(ConfigError::Blank(file.path.clone())),
            config => config,
        };
        file.seen.clone_from(&read);
        file.read = read;
        match config {
            Ok(config) => {
                tell(&file.path, &config);
                file.error = None;
                self.metrics.reloaded(Reload::Good, SystemTime::now());
                self.current.send_replace(Arc::new(config));
            }
            Err(reason) => {
                // Told once: it is not read again until it changes.
                error!(%reason, "cannot use the new web configuration; what was in force stays");
                file.error = Some(reason.to_string());
                self.metrics.reloaded(Reload::Bad, SystemTime::now());
            }
        }
    }
}

/// Waits for a request or the next look; false when there is nobody left to ask.
fn wait(receiver: &Receiver<SyncSender<()>>, refresh: impl Fn(bool) -> Option<()>) -> bool {
    match receiver.recv_timeout(INTERVAL) {
        Ok(done) => {
            let refreshed = refresh(true).is_some();
            let _ = done.send(());
            refreshed
        }
        Err(RecvTimeoutError::Timeout) => refresh(false).is_some(),
        Err(RecvTimeoutError::Disconnected) => false,
    }
}

/// Tells what is in force, and what of the file is not done.
fn tell(path: &Path, config: &WebConfig) {
    info!(file = %path.display(), in_force = config.summary(), "web configuration read");
    for sentence in &config.ignored {
        warn!(file = %path.display(), "web configuration: {sentence}");
    }
}

fn signature(path: &Path) -> Option<Signature> {
    std::fs::metadata(path).ok().map(|metadata| Signature::from(&metadata))
}

/// What the files say, and what they looked like before they were read: one that changes meanwhile is read once more.
fn load(path: &Path) -> (Signatures, Result<WebConfig, ConfigError>) {
    let mut signatures = Signatures::new();
    let config = WebConfig::load(path, |path| signatures.push((path.to_owned(), signature(path))));
    (signatures, config)
}
