// SPDX-License-Identifier: Apache-2.0
//! OpenMetrics text to the classic Prometheus text format 0.0.4.
//!
//! The samples are the same in both. The headers differ: classic ones name a counter with its `_total` and an info
//! metric with its `_info`, know neither UNIT nor EOF nor the types info, stateset and unknown, and escape no quotes.

use memchr::memmem;

/// Appends `openmetrics`, as `prometheus_client` writes it, to `out` as classic text.
///
/// Looks only at the lines that begin with `#`: a sample cannot contain a line feed, so runs of samples are copied whole.
pub fn from_openmetrics(openmetrics: &str, out: &mut String) {
    out.reserve(openmetrics.len());
    let mut help = None;
    let mut rest = openmetrics;
    while !rest.is_empty() {
        if !rest.starts_with('#') {
            let end = memmem::find(rest.as_bytes(), b"\n#").map_or(rest.len(), |at| at + 1);
            let (samples, after) = rest.split_at(end);
            out.push_str(samples);
            rest = after;
            continue;
        }
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.rsplit_once(' '))
        {
            header(name, kind, help.take(), out);
        }
    }
}

fn header(name: &str, kind: &str, help: Option<(&str, &str)>, out: &mut String) {
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    };
    if let Some((_, text)) = help.filter(|(of, _)| *of == name) {
        out.extend(["# HELP ", name, suffix, " "]);
        let mut parts = text.split("\\\"");
        out.extend(parts.next());
        out.extend(parts.flat_map(|part| ["\"", part]));
        out.push('\n');
    }
    out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::from_openmetrics;

    fn classic(openmetrics: &str) -> String {
        let mut out = String::new();
        from_openmetrics(openmetrics, &mut out);
        out
    }

    #[test]
    fn headers_follow_the_older_rules() {
        let openmetrics = concat!(
            "# HELP a_bytes Bytes of \\\"a\\\".\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n",
            "a_bytes_total{l=\"x # TYPE y\"} 1\na_bytes_total{l=\"# EOF\"} 2\n",
            "# HELP build What runs.\n# TYPE build info\nbuild_info{v=\"1\"} 1\n",
            "# HELP g A \\\\ gauge.\n# TYPE g gauge\ng 1.5\n",
            "# HELP u Who knows.\n# TYPE u unknown\nu 1\n",
            "# HELP h Times.\n# TYPE h histogram\nh_sum 1.0\nh_count 1\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\n",
            "# EOF\n",
        );
        let expected = concat!(
            "# HELP a_bytes_total Bytes of \"a\".\n# TYPE a_bytes_total counter\n",
            "a_bytes_total{l=\"x # TYPE y\"} 1\na_bytes_total{l=\"# EOF\"} 2\n",
            "# HELP build_info What runs.\n# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n",
            "# HELP g A \\\\ gauge.\n# TYPE g gauge\ng 1.5\n",
            "# HELP u Who knows.\n# TYPE u untyped\nu 1\n",
            "# HELP h Times.\n# TYPE h histogram\nh_sum 1.0\nh_count 1\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\n",
        );
        assert_eq!(classic(openmetrics), expected);
    }

    #[test]
    fn a_family_without_samples_or_help_survives() {
        assert_eq!(
            classic("# TYPE a counter\n# HELP b B.\n# TYPE b gauge\n# EOF\n"),
            "# TYPE a_total counter\n# HELP b B.\n# TYPE b gauge\n"
        );
        assert_eq!(classic("# EOF\n"), "");
        assert_eq!(classic("a 1"), "a 1");
    }
}
