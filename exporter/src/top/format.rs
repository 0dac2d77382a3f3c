// SPDX-License-Identifier: Apache-2.0
//! Numbers in a few characters.

use std::time::Duration;

/// What stands where nothing is known.
pub const NOTHING: &str = "-";

/// A count in at most six characters: `9999`, `12.3k`, `4.0M`.
pub fn count(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return NOTHING.to_owned();
    }
    if value < 9_999.5 {
        return if value.fract() == 0.0 || value >= 99.95 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        };
    }
    let mut scaled = value;
    for unit in ["k", "M", "G", "T", "P", "E"] {
        scaled /= 1000.0;
        if scaled < 99.95 {
            return format!("{scaled:.1}{unit}");
        }
        if scaled < 999.5 {
            return format!("{scaled:.0}{unit}");
        }
    }
    "huge".to_owned()
}

/// A share in percent, in at most six characters.
pub fn percent(ratio: Option<f64>) -> String {
    match ratio.map(|ratio| ratio * 100.0) {
        Some(percent) if !percent.is_finite() || percent < 0.0 => NOTHING.to_owned(),
        Some(0.0) => "0%".to_owned(),
        Some(percent) if percent < 0.005 => "<0.01%".to_owned(),
        Some(percent) if percent < 9.995 => format!("{percent:.2}%"),
        Some(percent) if percent < 99.95 => format!("{percent:.1}%"),
        Some(percent) => format!("{percent:.0}%"),
        None => NOTHING.to_owned(),
    }
}

/// A short time in at most six characters: `64µs`, `1.2ms`, `3.1s`.
pub fn seconds(value: Option<f64>) -> String {
    match value {
        Some(value) if !value.is_finite() || value < 0.0 => NOTHING.to_owned(),
        Some(value) if value < 0.000_999_5 => format!("{:.0}µs", value * 1e6),
        Some(value) if value < 0.009_995 => format!("{:.2}ms", value * 1e3),
        Some(value) if value < 0.099_95 => format!("{:.1}ms", value * 1e3),
        Some(value) if value < 0.999_5 => format!("{:.0}ms", value * 1e3),
        Some(value) if value < 99.95 => format!("{value:.1}s"),
        Some(value) => age(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)),
        None => NOTHING.to_owned(),
    }
}

/// A time in whole seconds, minutes, hours or days, the two largest: `7s`, `4m12s`, `3h05m`.
pub fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{age, count, percent, seconds};

    #[test]
    fn numbers_are_short() {
        let counts = [
            0.0, 0.25, 12.0, 99.97, 512.4, 9_999.0, 9_999.7, 12_345.0, 999_499.0, 999_700.0, 4e6, 2.5e18,
            1e300,
        ];
        let shown: Vec<_> = counts.into_iter().map(count).collect();
        let expected = [
            "0", "0.2", "12", "100", "512", "9999", "10.0k", "12.3k", "999k", "1.0M", "4.0M", "2.5E", "huge",
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            (count(f64::NAN), count(-1.0), count(f64::INFINITY)),
            ("-".into(), "-".into(), "-".into())
        );
        let ratios = [0.0, 0.000_01, 0.0072, 0.0999, 0.123, 0.9999, 1.0, 3.0];
        let shown: Vec<_> = ratios.into_iter().map(|ratio| percent(Some(ratio))).collect();
        assert_eq!(shown, ["0%", "<0.01%", "0.72%", "9.99%", "12.3%", "100%", "100%", "300%"]);
        let times = [0.0, 0.000_064, 0.000_999_9, 0.0012, 0.0123, 0.25, 0.9999, 3.12, 250.0, 1e300];
        let shown: Vec<_> = times.into_iter().map(|time| seconds(Some(time))).collect();
        assert_eq!(
            shown[..9],
            ["0µs", "64µs", "1.00ms", "1.20ms", "12.3ms", "250ms", "1.0s", "3.1s", "4m10s"]
        );
        assert_eq!((percent(None), seconds(None), seconds(Some(-0.1))), ("-".into(), "-".into(), "-".into()));
    }

    #[test]
    fn ages() {
        let shown: Vec<_> =
            [7, 60, 252, 11_100, 200_000].map(Duration::from_secs).into_iter().map(age).collect();
        assert_eq!(shown, ["7s", "1m", "4m12s", "3h05m", "2d07h"]);
    }
}
