// SPDX-License-Identifier: Apache-2.0
//! A provider with many addresses, and what `/flows` says of each.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::exporter::Exporter;
use crate::names::Name;
use crate::netns::Subnet;
use crate::process::run;
use crate::python;
use crate::stage::Stage;

/// What the names file calls it.
pub const PROVIDER: &str = "provider";

/// A stage on which the server has a range of addresses that are all one provider's.
#[derive(Debug)]
pub struct Provider {
    /// Client, server, exporter.
    pub stage: Stage,
    range: Subnet,
}

impl Provider {
    /// Sets the scene; the exporter has these flags besides.
    pub fn new(flags: &[&str]) -> Result<Self> {
        let stage = Stage::new(flags)?;
        stage.pin();
        let range = Subnet::next();
        stage.server.own_range(&range)?;
        let network = format!("{}/24", range.v4(0));
        stage.client.ip(&["route", "add", &network, "via", &stage.link.b.v4.to_string()])?;
        let provider = Name { cidrs: vec![network], workload: PROVIDER.to_owned(), ..Name::default() };
        stage.rename(&[Name::of(&stage.client), Name::of(&stage.server), provider])?;
        Ok(Self { stage, range })
    }

    /// One of its addresses.
    pub fn address(&self, number: u8) -> Ipv4Addr {
        self.range.v4(number)
    }

    /// The client's view of it, by address. Other tests' hosts may have the same addresses.
    pub fn question(&self) -> String {
        format!(
            "/flows?observer=client&client_workload={}&server_workload={PROVIDER}",
            self.stage.client.workload
        )
    }

    /// `--to` flags for the first addresses.
    pub fn to(&self, addresses: u8, port: u16) -> Vec<String> {
        (1..=addresses)
            .flat_map(|number| ["--to".to_owned(), format!("{}:{port}", self.address(number))])
            .collect()
    }
}

/// Asks for JSON.
pub fn ask(exporter: &Exporter, path: &str) -> Result<Value> {
    let response = exporter.get(path, "application/json")?;
    ensure!(response.status == 200, "{path} answered {}: {}", response.status, response.body);
    ensure!(response.header("content-type") == Some("application/json"), "{:?}", response.headers);
    serde_json::from_str(&response.body).context("an answer of /flows")
}

/// Asks until `condition` holds, at most ten seconds.
pub fn ask_until(exporter: &Exporter, path: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask(exporter, path)?;
        if condition(&answer) {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("not what was wanted of {path}: {answer:#}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The row of an address.
pub fn row(answer: &Value, address: Ipv4Addr) -> Result<&Value> {
    let rows = answer["rows"].as_array().context("no rows")?;
    let found = rows.iter().find(|row| row["address"] == address.to_string());
    found.with_context(|| format!("no row of {address} in {answer:#}"))
}

/// Holds answers against the schema in the documentation.
pub fn validate(answers: &[&Value]) -> Result<()> {
    const PROGRAM: &str = "import json, sys, jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())\n\
        for name in sys.argv[2:]:\n    \
            validator.validate(json.load(open(name)))\n";
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flows.schema.json");
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(python::program("python3")?);
    command.args(["-c", PROGRAM]).arg(schema);
    for (number, answer) in answers.iter().enumerate() {
        let path = directory.path().join(format!("{number}.json"));
        std::fs::write(&path, answer.to_string())?;
        command.arg(path);
    }
    run(&mut command).map(drop)
}
