// SPDX-License-Identifier: Apache-2.0
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;

use super::{Coding, Exposition, Format};
use crate::self_metrics::{ProcessCollector, SelfMetrics};
use crate::source::MetricSource as _;
use crate::web::fake::Fake;

fn exposition() -> Exposition {
    let fake = Fake::taking(Duration::ZERO);
    fake.refresh().unwrap();
    let own = Arc::<SelfMetrics>::default();
    own.pass(Duration::from_millis(3));
    own.scrape(Duration::from_secs(100));
    own.response(200);
    Exposition::new(fake, own, ProcessCollector::new(Path::new("/proc")))
}

fn render(format: Format) -> String {
    String::from_utf8(exposition().render(format, Coding::Identity).unwrap().to_vec()).unwrap()
}

#[test]
fn openmetrics_names_families_without_suffix_and_ends() {
    let text = render(Format::OpenMetrics);
    for expected in [
        "# TYPE flowgauge_test_passes counter\nflowgauge_test_passes_total{who=\"<script>\\\"\\\\\\n&\"} 1\n",
        "# TYPE flowgauge_build info\n",
        "# TYPE flowgauge_scrape_duration_seconds histogram\n# UNIT flowgauge_scrape_duration_seconds seconds\n",
        "flowgauge_scrape_duration_seconds_bucket{le=\"4.0\"} 0\nflowgauge_scrape_duration_seconds_bucket{le=\"+Inf\"} 1\n",
        "flowgauge_web_responses_total{code=\"200\"} 1\n",
        "flowgauge_web_responses_total{code=\"503\"} 0\n",
        "# TYPE process_cpu_seconds counter\n",
        "\n# EOF\n",
    ] {
        assert!(text.contains(expected), "{expected}\nis missing in\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn classic_has_the_same_samples() {
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let (open, classic) = (render(Format::OpenMetrics), render(Format::Classic));
    assert_eq!(samples(&open), samples(&classic));
    for expected in ["# TYPE flowgauge_build_info gauge\n", "# TYPE process_cpu_seconds_total counter\n"] {
        assert!(classic.contains(expected), "{expected}\nis missing in\n{classic}");
    }
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
}

#[test]
fn process_metrics_are_those_of_this_process() {
    let text = render(Format::Classic);
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{text}")).parse().unwrap()
    };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let started = value("process_start_time_seconds");
    assert!((now - 3600.0..now + 2.0).contains(&started), "{started} {now}");
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_threads") >= 1.0);
    assert!((3.0..value("process_max_fds")).contains(&value("process_open_fds")));
    assert!(value("process_cpu_seconds_total") >= 0.0);
}

#[test]
fn promtool_finds_nothing_to_say() {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs promtool: install the Debian package prometheus");
    promtool.stdin.take().unwrap().write_all(render(Format::Classic).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && said.concat().is_empty(), "{} {said:?}", output.status);
}

#[test]
fn gzip_is_the_same_text() {
    let exposition = exposition();
    for format in [Format::OpenMetrics, Format::Classic] {
        let mut unpacked = String::new();
        let packed = exposition.render(format, Coding::Gzip).unwrap();
        GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
        let plain = exposition.render(format, Coding::Identity).unwrap();
        // CPU time and memory move between the two.
        let stable = |text: &str| {
            text.lines().filter(|line| !line.starts_with("process_")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(stable(&unpacked), stable(std::str::from_utf8(&plain).unwrap()));
        assert!(packed.len() < unpacked.len());
    }
}

#[test]
fn buffers_go_round() {
    let exposition = exposition();
    let body = exposition.render(Format::Classic, Coding::Identity).unwrap();
    let address = body.as_ptr();
    assert_eq!(exposition.buffers.0.lock().len(), 1, "the intermediate text is back, the body is out");
    drop(body);
    assert_eq!(exposition.buffers.0.lock().len(), 2);
    assert!(exposition.buffers.0.lock().iter().any(|buffer| buffer.as_ptr() == address));
}
