// SPDX-License-Identifier: Apache-2.0
//! Which format and coding a scrape gets: RFC 9110 section 12.5, with Prometheus' parameters.

/// The text format of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Classic,
}

impl Format {
    /// The exact Content-Type; Prometheus 3 fails scrapes without a valid one.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    const fn media(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
            Self::Classic => ("text", "plain", "0.0.4"),
        }
    }

    /// The format that `Accept` weighs highest. At equal weight the one named more exactly wins, then OpenMetrics.
    /// Classic text where the header is missing, malformed or accepts neither: a scrape in the wrong clothes tells
    /// more than a 406.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or("*/*");
        let (open, classic) = (Self::OpenMetrics.weight(accept), Self::Classic.weight(accept));
        let wins = open.quality > 0 && (open.quality, open.exactness) >= (classic.quality, classic.exactness);
        // A bare wildcard says nothing about OpenMetrics: a person with curl gets the older format.
        if wins && open.exactness > Exactness::AnySubtype { Self::OpenMetrics } else { Self::Classic }
    }

    /// What `accept` says about this format: the most exact range that matches counts.
    fn weight(self, accept: &str) -> Weight {
        let mut best = Weight::default();
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let Some(exactness) = parts.next().and_then(|media| self.matches(media)) else { continue };
            let mut quality = 1000;
            let mut acceptable = true;
            let mut exactness = exactness;
            for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = parse_quality(value),
                    "version" if value == self.media().2 => exactness = Exactness::Version,
                    "version" => acceptable = false,
                    _ => {}
                }
            }
            let found = Weight { exactness, quality };
            if acceptable && (found.exactness, found.quality) > (best.exactness, best.quality) {
                best = found;
            }
        }
        best
    }

    fn matches(self, range: &str) -> Option<Exactness> {
        let (kind, subtype) = range.split_once('/')?;
        let (own_kind, own_subtype, _) = self.media();
        if kind.eq_ignore_ascii_case(own_kind) && subtype.eq_ignore_ascii_case(own_subtype) {
            Some(Exactness::Media)
        } else if kind.eq_ignore_ascii_case(own_kind) && subtype == "*" {
            Some(Exactness::AnySubtype)
        } else {
            (range == "*/*").then_some(Exactness::Any)
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Exactness {
    #[default]
    Nothing,
    Any,
    AnySubtype,
    Media,
    Version,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    exactness: Exactness,
    quality: u16,
}

/// How a scrape is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
}

impl Coding {
    /// gzip where `Accept-Encoding` takes it at least as gladly as the plain body.
    pub fn negotiate(accept_encoding: Option<&str>) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        for coding in accept_encoding.unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts
                .filter_map(|parameter| parameter.split_once('='))
                .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
                .map_or(1000, |(_, value)| parse_quality(value.trim()));
            match name.to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(quality),
                "identity" => identity = Some(quality),
                "*" => any = Some(quality),
                _ => {}
            }
        }
        let gzip = gzip.or(any).unwrap_or(0);
        if gzip > 0 && gzip >= identity.unwrap_or(0) { Self::Gzip } else { Self::Identity }
    }
}

/// A weight of 0 to 1 in thousandths; what is not one weighs nothing.
fn parse_quality(text: &str) -> u16 {
    match text.parse::<f32>() {
        // In range by the guard, so the cast cannot truncate or lose a sign.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Coding, Format};

    #[test]
    fn formats_by_accept() {
        use Format::{Classic, OpenMetrics};
        let table = [
            (None, Classic),
            (Some(""), Classic),
            (Some("*/*"), Classic),
            (Some("text/*"), Classic),
            (Some("application/*"), Classic),
            (Some("application/json"), Classic),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"), Classic),
            (Some("text/plain"), Classic),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("Application/OpenMetrics-Text; Version=\"1.0.0\""), OpenMetrics),
            (Some("application/openmetrics-text;version=0.0.1"), Classic),
            (Some("application/openmetrics-text;version=2.0.0"), Classic),
            (Some("application/openmetrics-text, text/plain"), OpenMetrics),
            (Some("text/plain;version=0.0.4, application/openmetrics-text;q=0.9"), Classic),
            (
                Some("text/plain;version=0.0.4;q=0.3, application/openmetrics-text;version=1.0.0;q=0.5"),
                OpenMetrics,
            ),
            (Some("application/openmetrics-text;q=0"), Classic),
            (Some("application/openmetrics-text;q=0, */*"), Classic),
            (Some("application/openmetrics-text;q=nan"), Classic),
            (Some("application/openmetrics-text;q=7"), Classic),
            (Some(";;;,,,=/=;q"), Classic),
            // Prometheus 2.x.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
            // Prometheus 2.x without OpenMetrics, and as old as 2.4.
            (Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), Classic),
            // Prometheus 3.x, with native histograms (protobuf first) and without.
            (
                Some(
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                     application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ),
                OpenMetrics,
            ),
            (Some("text/plain;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"), Classic),
        ];
        for (accept, expected) in table {
            assert_eq!(Format::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn codings_by_accept_encoding() {
        use Coding::{Gzip, Identity};
        let table = [
            (None, Identity),
            (Some(""), Identity),
            (Some("gzip"), Gzip),
            (Some("GZIP"), Gzip),
            (Some("deflate, br, zstd"), Identity),
            (Some("gzip, deflate, br"), Gzip),
            (Some("gzip;q=0"), Identity),
            (Some("gzip;q=0.000"), Identity),
            (Some("gzip;q=0.001"), Gzip),
            (Some("*"), Gzip),
            (Some("*;q=0"), Identity),
            (Some("*, gzip;q=0"), Identity),
            (Some("identity;q=1, gzip;q=0.5"), Identity),
            (Some("identity;q=0.5, gzip;q=1.0"), Gzip),
            (Some("gzip;q=abc"), Identity),
        ];
        for (accept, expected) in table {
            assert_eq!(Coding::negotiate(accept), expected, "{accept:?}");
        }
    }
}
