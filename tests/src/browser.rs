// SPDX-License-Identifier: Apache-2.0
//! A headless Chromium, driven by WebDriver (chromedriver).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::sys::{self, Placement};

/// How long starting it may take.
const START: Duration = Duration::from_secs(60);

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Width of the window or screen.
    pub width: u32,
    /// A phone: touch, and two dots a pixel.
    pub phone: bool,
    /// Whether scripts run.
    pub scripts: bool,
}

/// A desk's screen.
pub const DESK: View = View { width: 1280, phone: false, scripts: true };

/// A phone's screen.
pub const PHONE: View = View { width: 390, phone: true, scripts: true };

/// A running browser with one window, ended when dropped.
#[derive(Debug)]
pub struct Browser {
    _driver: Process,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts it.
    pub fn start(view: View) -> Result<Self> {
        let profile = TempDir::new().context("making a directory for the browser")?;
        let mut command = Command::new("chromedriver");
        command.args(["--port=0", "--log-level=SEVERE"]);
        sys::place(&mut command, Placement::default());
        let mut driver = Process::spawn("chromedriver", &mut command)?;
        let port = loop {
            let line = driver.line(START)?;
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().with_context(|| line.clone())?;
            }
        };
        let answer = talk(port, "POST", "/session", &capabilities(view, &profile))?;
        let session = answer["sessionId"].as_str().context("no session")?.to_owned();
        Ok(Self { _driver: driver, port, session, _profile: profile })
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        talk(self.port, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.ask("POST", "/url", &json!({ "url": url })).map(drop)
    }

    /// What an expression of JavaScript comes to.
    pub fn eval(&self, expression: &str) -> Result<Value> {
        let script = format!("return ({expression});");
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The document as it is now.
    pub fn source(&self) -> Result<String> {
        let source = self.ask("GET", "/source", &Value::Null)?;
        Ok(source.as_str().context("no source")?.to_owned())
    }

    /// What the browser complained of since the last time: scripts that failed, what the page's policy forbade.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }))?;
        let log = log.as_array().context("no log")?;
        Ok(log.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver, which ends with it, would leave the browser behind.
        let _ = self.ask("DELETE", "", &Value::Null);
    }
}

fn capabilities(view: View, profile: &TempDir) -> Value {
    let View { width, phone, scripts } = view;
    // As root there is no sandbox; and it looks nothing up elsewhere.
    let mut arguments: Vec<String> = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--user-data-dir={}", profile.path().display()));
    arguments.push(format!("--window-size={width},900"));
    let mut options = json!({ "args": arguments });
    if phone {
        let metrics = json!({ "width": width, "height": 844, "pixelRatio": 2.0, "touch": true });
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    if !scripts {
        options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
    }
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}

/// One request to the driver; its value.
fn talk(port: u16, method: &str, path: &str, body: &Value) -> Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connecting to chromedriver")?;
    stream.set_read_timeout(Some(START))?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(answer.read_line(&mut line)? > 0, "chromedriver hung up on {method} {path}");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut bytes = vec![0; length];
    answer.read_exact(&mut bytes)?;
    let mut answer: Value = serde_json::from_slice(&bytes).context("chromedriver's answer")?;
    let value = answer["value"].take();
    ensure!(value.get("error").is_none_or(Value::is_null), "{method} {path}: {value:#}");
    Ok(value)
}
