// SPDX-License-Identifier: Apache-2.0
//! A strict reader of the two text formats: it refuses what Prometheus might forgive.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

use super::{Family, Kind, Sample};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Reads all families of a scrape.
pub(super) fn families(text: &str, format: Format) -> Result<BTreeMap<String, Family>> {
    ensure!(text.ends_with('\n'), "the last line does not end");
    let mut reader = Reader { format, families: BTreeMap::new(), current: None, ended: false };
    for (number, line) in text.lines().enumerate() {
        reader.line(line).with_context(|| format!("line {}: {line:?}", number + 1))?;
    }
    ensure!(format == Format::Classic || reader.ended, "# EOF is missing");
    for (name, family) in &reader.families {
        check_family(name, family).with_context(|| format!("family {name}"))?;
    }
    Ok(reader.families)
}

struct Reader {
    format: Format,
    families: BTreeMap<String, Family>,
    current: Option<String>,
    ended: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        ensure!(!self.ended, "something follows # EOF");
        if line == "# EOF" && self.format == Format::OpenMetrics {
            self.ended = true;
            return Ok(());
        }
        match line.strip_prefix("# ") {
            Some(comment) => self.comment(comment),
            None => self.sample(line),
        }
    }

    fn comment(&mut self, comment: &str) -> Result<()> {
        let mut words = comment.splitn(3, ' ');
        let (keyword, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rest = words.next().unwrap_or_default();
        ensure!(valid_name(name, true), "invalid metric name {name:?}");
        if self.current.as_deref() != Some(name) {
            ensure!(!self.families.contains_key(name), "{name} is not in one block");
            let family = Family { kind: Kind::Unknown, help: String::new(), samples: Vec::new() };
            self.families.insert(name.to_owned(), family);
            self.current = Some(name.to_owned());
        }
        let format = self.format;
        let family = self.families.get_mut(name).context("no such family")?;
        ensure!(family.samples.is_empty(), "{keyword} after samples");
        match keyword {
            "HELP" => {
                ensure!(family.help.is_empty() && !rest.is_empty(), "HELP must come once and say something");
                family.help = unescape(rest)?;
            }
            "TYPE" => {
                ensure!(family.kind == Kind::Unknown, "a second TYPE");
                family.kind = kind(rest, format)?;
            }
            "UNIT" if format == Format::OpenMetrics => {
                ensure!(name.ends_with(&format!("_{rest}")), "the name does not end in its unit {rest:?}");
            }
            _ => bail!("unknown comment keyword {keyword:?}"),
        }
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<()> {
        let end = line.find(['{', ' ']).context("no value")?;
        let (name, rest) = line.split_at(end);
        ensure!(valid_name(name, true), "invalid metric name {name:?}");
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = rest.strip_prefix(' ').context("no space before the value")?;
        ensure!(!value.contains(' '), "a timestamp or exemplar");
        let value = number(value).with_context(|| format!("not a number: {value:?}"))?;
        let family_name = self.current.clone().context("a sample before any TYPE")?;
        let family = self.families.get_mut(&family_name).context("no such family")?;
        let allowed: &[&str] = match (family.kind, self.format) {
            (Kind::Counter, Format::OpenMetrics) => &["_total"],
            (Kind::Histogram, _) => &["_bucket", "_sum", "_count"],
            (Kind::Info, _) => &["_info"],
            _ => &[""],
        };
        let suffix = name.strip_prefix(family_name.as_str());
        ensure!(
            suffix.is_some_and(|suffix| allowed.contains(&suffix)),
            "does not belong to family {family_name}"
        );
        family.samples.push(Sample { name: name.to_owned(), labels, value });
        Ok(())
    }
}

fn kind(word: &str, format: Format) -> Result<Kind> {
    Ok(match (word, format) {
        ("counter", _) => Kind::Counter,
        ("gauge", _) => Kind::Gauge,
        ("histogram", _) => Kind::Histogram,
        ("info", Format::OpenMetrics) => Kind::Info,
        ("unknown", Format::OpenMetrics) | ("untyped", Format::Classic) => Kind::Unknown,
        _ => bail!("unknown type {word:?}"),
    })
}

fn labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        if !labels.is_empty() {
            rest = rest.strip_prefix(',').context("no comma between labels")?;
        }
        let (name, after) = rest.split_once("=\"").context("a label without =\"")?;
        ensure!(valid_name(name, false), "invalid label name {name:?}");
        let end = closing_quote(after).context("a label value without end")?;
        let value = unescape(&after[..end])?;
        ensure!(labels.insert(name.to_owned(), value).is_none(), "label {name} twice");
        rest = &after[end + 1..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, character)| match character {
        '"' if !escaped => Some(at),
        _ => {
            escaped = character == '\\' && !escaped;
            None
        }
    })
}

fn unescape(text: &str) -> Result<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => bail!("unknown escape {other:?}"),
            },
            other => other,
        });
    }
    Ok(plain)
}

/// A number as the formats write it.
pub(super) fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            text.parse().ok()
        }
        _ => None,
    }
}

fn valid_name(name: &str, colons: bool) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colons && byte == b':');
    name.bytes().all(good) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn check_family(name: &str, family: &Family) -> Result<()> {
    ensure!(!family.help.is_empty(), "no HELP");
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        ensure!(seen.insert((&sample.name, &sample.labels)), "{sample:?} twice");
        let grows = matches!(family.kind, Kind::Counter | Kind::Histogram);
        ensure!(!grows || sample.value >= 0.0, "{sample:?} is not a count");
    }
    if family.kind == Kind::Histogram { check_histogram(name, family) } else { Ok(()) }
}

#[derive(Default)]
struct HistogramParts {
    buckets: Vec<(f64, f64)>,
    counts: Vec<f64>,
    sums: usize,
}

fn check_histogram(name: &str, family: &Family) -> Result<()> {
    let mut by_labels: BTreeMap<_, HistogramParts> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        let parts = by_labels.entry(labels).or_default();
        match (sample.name.strip_prefix(name), bound) {
            (Some("_bucket"), Some(bound)) => {
                parts.buckets.push((number(&bound).context("le is not a number")?, sample.value));
            }
            (Some("_count"), None) => parts.counts.push(sample.value),
            (Some("_sum"), None) => parts.sums += 1,
            _ => bail!("{sample:?} is no part of a histogram"),
        }
    }
    for (labels, HistogramParts { buckets, counts, sums }) in by_labels {
        let ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        ensure!(ascending, "{labels:?}: buckets do not ascend: {buckets:?}");
        let last = buckets.last().copied().unwrap_or_default();
        ensure!(last.0 == f64::INFINITY, "{labels:?}: no +Inf bucket");
        ensure!(sums == 1 && counts == [last.1], "{labels:?}: _count {counts:?} against +Inf {}", last.1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n,}\"} 3\na_total 4\n\
        # HELP h Times.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.5\nh_count 2\n";

    #[test]
    fn reads_classic_text() -> Result<()> {
        let families = families(GOOD, Format::Classic)?;
        assert_eq!(families["a_total"].samples[0].labels["x"], "q\"\\\n,}");
        assert_eq!(families["a_total"].samples[1].value, 4.0);
        assert_eq!(families["h"].kind, Kind::Histogram);
        Ok(())
    }

    #[test]
    fn reads_openmetrics() -> Result<()> {
        let text =
            "# HELP a_bytes Things.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total 3\n# EOF\n";
        assert_eq!(families(text, Format::OpenMetrics)?["a_bytes"].samples[0].name, "a_bytes_total");
        assert!(families(text.trim_end_matches("# EOF\n"), Format::OpenMetrics).is_err());
        Ok(())
    }

    #[test]
    fn refuses_what_is_wrong() {
        for (wrong, from, to) in [
            ("sample twice", "a_total 4", "a_total{x=\"q\\\"\\\\\\n,}\"} 4"),
            ("negative counter", "a_total 4", "a_total -4"),
            ("no value", "a_total 4", "a_total "),
            ("foreign sample", "a_total 4", "b_total 4"),
            ("bad escape", "\\n,", "\\t,"),
            ("falling buckets", "le=\"+Inf\"} 2", "le=\"+Inf\"} 0"),
            ("count against buckets", "h_count 2", "h_count 3"),
            ("no sum", "h_sum 0.5\n", ""),
            ("no help", "# HELP h Times.\n", ""),
            ("second block", "h_sum 0.5", "a_total 5"),
            ("timestamp", "a_total 4", "a_total 4 1700000000"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{wrong}: nothing was changed");
            assert!(families(&text, Format::Classic).is_err(), "{wrong} was accepted:\n{text}");
        }
    }
}
