// SPDX-License-Identifier: Apache-2.0
//! Numbers for people.

/// Bytes with three digits: `1.23 MB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], "\u{202f}")
}

/// A count: whole up to 9,999, then `12.3 k`.
pub fn count(count: u64) -> String {
    if count < 10_000 {
        return grouped(count);
    }
    scaled(count as f64, &["", "k", "M", "G", "T", "P", "E"], "\u{202f}")
}

fn scaled(mut value: f64, units: &[&str], space: &str) -> String {
    let mut unit = 0;
    // What would be rounded to 1,000 is one of the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{space}{}", units[unit])
}

/// A whole number with a thin space after thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share of one in percent: `0.012 %`, `3.4 %`, `98 %`; what is not all is never rounded to it.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value {
        _ if value <= 0.0 => 0,
        _ if value < 0.1 => 3,
        _ if value < 1.0 => 2,
        _ if value < 10.0 => 1,
        _ if !(99.0..100.0).contains(&value) => 0,
        _ => return format!("{:.1}\u{202f}%", (value * 10.0).floor() / 10.0),
    };
    format!("{value:.digits$}\u{202f}%")
}

/// A duration in the unit that suits it: `230 µs`, `4.2 ms`, `1.3 s`.
pub fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        _ if seconds < 0.000_999_5 => (seconds * 1e6, "µs"),
        _ if seconds < 0.999_5 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let digits = usize::from(value < 9.95 && unit != "µs");
    format!("{value:.digits$}\u{202f}{unit}")
}

/// A longer time, to the largest unit: `now`, `12 s`, `3 min`, `2 h`, `5 d`.
pub fn ago(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (value, unit) = match whole {
        0 => return "now".to_owned(),
        1..=99 => (whole, "s"),
        100..=5999 => (whole / 60, "min"),
        6000..=172_799 => (whole / 3600, "h"),
        _ => (whole / 86_400, "d"),
    };
    format!("{value}\u{202f}{unit}")
}

/// A time of day of Unix time, in UTC: `12:31:05`.
pub fn time_of_day(unix: f64) -> String {
    let second = unix.max(0.0) as u64 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_do() {
        let plain = |text: String| text.replace('\u{202f}', " ");
        for (value, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_600, "1.00 MB"),
            (99_960_000, "100 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(plain(bytes(value)), text);
        }
        for (value, text) in [(9999, "9 999"), (12_345, "12.3 k"), (7, "7"), (1_000_000, "1.00 M")] {
            assert_eq!(plain(count(value)), text);
        }
        for (value, text) in [
            (0.0, "0 %"),
            (0.000_12, "0.012 %"),
            (0.0345, "3.5 %"),
            (0.98, "98 %"),
            (0.9996, "99.9 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(plain(percent(value)), text);
        }
        for (value, text) in [(0.000_064, "64 µs"), (0.0042, "4.2 ms"), (0.25, "250 ms"), (1.25, "1.2 s")] {
            assert_eq!(plain(duration(value)), text);
        }
        for (value, text) in [(0.4, "now"), (12.7, "12 s"), (180.0, "3 min"), (1e6, "11 d"), (-5.0, "now")] {
            assert_eq!(plain(ago(value)), text);
        }
        assert_eq!(plain(grouped(1_234_567)), "1 234 567");
        assert_eq!(time_of_day(1_790_000_000.123), "14:13:20");
    }
}
