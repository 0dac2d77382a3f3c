// SPDX-License-Identifier: Apache-2.0
//! `rate_limit`: a bucket of requests that fills by one each interval.

use std::time::{Duration, Instant};

use flowgauge_labels::Fault;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSection {
    interval: Option<Spanned<String>>,
    burst: Option<u32>,
}

/// How many requests are answered.
pub struct RateLimit {
    interval: Duration,
    burst: f64,
    bucket: Mutex<(f64, Instant)>,
}

/// What the section asks for; None if its interval is nothing.
pub fn limit(section: &Spanned<RateSection>) -> Result<Option<RateLimit>, Fault> {
    let Some(interval) = &section.value.interval else { return Ok(None) };
    let interval = match interval.value.as_str() {
        "0" => Duration::ZERO,
        text => humantime::parse_duration(text).map_err(|_| {
            Fault::at(
                interval.referenced,
                format!("interval: {text:?} is not a duration such as 100ms or 1s"),
            )
        })?,
    };
    if interval.is_zero() {
        return Ok(None);
    }
    match section.value.burst.unwrap_or_default() {
        0 => {
            Err(Fault::at(section.referenced, "rate_limit: without a burst of at least 1 nobody is answered"))
        }
        burst => Ok(Some(RateLimit::new(interval, burst, Instant::now()))),
    }
}

impl RateLimit {
    fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { interval, burst, bucket: Mutex::new((burst, now)) }
    }

    /// Whether one more request may be answered now.
    pub fn allow(&self) -> bool {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        let (tokens, since) = *bucket;
        let grown = now.saturating_duration_since(since).as_secs_f64() / self.interval.as_secs_f64();
        let tokens = (tokens + grown).min(self.burst);
        let allowed = tokens >= 1.0;
        *bucket = (if allowed { tokens - 1.0 } else { tokens }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, RateLimit};

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let start = Instant::now();
        let limit = RateLimit::new(Duration::from_millis(100), 3, start);
        let at = |ms| limit.allow_at(start + Duration::from_millis(ms));
        let allowed: Vec<_> = [0, 0, 0, 0, 50, 100, 100, 1000, 1000, 1000, 1000].map(at).into();
        assert_eq!(allowed, [true, true, true, false, false, true, false, true, true, true, false]);
    }
}
