// SPDX-License-Identifier: Apache-2.0
//! Values that clap has no type for. Errors say what is wrong with the value; who prints them names the flag.

use std::time::Duration;

/// A list of ports.
#[derive(Clone, Debug)]
pub struct Ports(pub Vec<u16>);

/// `--web.telemetry-path`: a path of its own, such as `/metrics`.
pub fn telemetry_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with /".to_owned());
    }
    if matches!(text, "/" | "/flows") || text.starts_with("/-/") {
        return Err("is taken by another page; choose a path such as /metrics".to_owned());
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '%' | '"' | '<' | '>' | '\\'))
    {
        Some(c) => Err(format!("must not contain {c:?}")),
        None => Ok(text.to_owned()),
    }
}

/// Fewest series that a budget can be: both `other` edges with their histograms, and some listeners.
const FEWEST_SERIES: u32 = 200;

/// `--series.limit`: at least 200.
pub fn series_limit(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|limit| *limit >= FEWEST_SERIES)
        .ok_or_else(|| format!("must be a whole number from {FEWEST_SERIES} to {}", u32::MAX))
}

/// A comma list of ports.
pub fn ports(text: &str) -> Result<Ports, String> {
    text.split(',')
        .map(str::trim)
        .filter(|port| !port.is_empty())
        .map(|port| match port.parse() {
            Ok(0) | Err(_) => Err(format!("{port:?} is not a port between 1 and 65535")),
            Ok(port) => Ok(port),
        })
        .collect::<Result<_, _>>()
        .map(Ports)
}

/// `--series.idle-timeout`: at least 1 s.
pub fn idle_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|_| "is not a duration such as 90s, 30m or 1h30m".to_owned())?;
    if timeout < Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    Ok(timeout)
}
