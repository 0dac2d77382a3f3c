// SPDX-License-Identifier: Apache-2.0
//! Values; what the environment does is tested on the real program in `tests/flags.rs`.

use std::ffi::OsString;
use std::time::Duration;

use flowgauge_labels::{MetadataMode, Provider};

use super::{
    CheckFlags, Command, DEFAULT_LABELS, Flags, Host, KubernetesMode, ListenAddress, LogFormat,
    OPTIONAL_LABELS, PodsWatched, Usage,
};

fn parse(arguments: &[&str]) -> Result<Flags, Usage> {
    Flags::parse_from(std::iter::once("flowgauge").chain(arguments.iter().copied()).map(OsString::from))
}

fn mistake(arguments: &[&str]) -> String {
    match parse(arguments) {
        Err(Usage::Mistake(line)) => {
            assert!(!line.contains('\n'), "one line: {line:?}");
            line
        }
        other => panic!("{arguments:?} should be a mistake: {other:?}"),
    }
}

#[test]
fn defaults() {
    let flags = parse(&[]).unwrap();
    assert_eq!(flags.listen_addresses, [":10950".parse().unwrap()]);
    assert_eq!(flags.telemetry_path, "/metrics");
    assert!(
        flags.collector_tcp() && flags.collector_udp() && flags.collector_dns() && flags.collector_node()
    );
    assert_eq!(
        (flags.dns.timeout, flags.dns.ports(), flags.dns.names),
        (Duration::from_secs(5), &[53][..], 0)
    );
    assert_eq!((flags.names_file(), flags.external_patterns()), (None, None));
    assert!(flags.labels_add.0.is_empty() && flags.labels_drop.0.is_empty());
    assert_eq!(flags.service_ports(), [50051]);
    assert_eq!((flags.kubernetes.mode, flags.kubernetes.pods), (KubernetesMode::Auto, PodsWatched::Cluster));
    assert!(flags.kubernetes.proxy_containers.0.contains(&"istio-proxy".to_owned()));
    assert_eq!(flags.series_limit, 20_000);
    assert_eq!(flags.series_idle_timeout, Duration::from_secs(3600));
    assert_eq!(flags.log_format, LogFormat::Logfmt);
    assert_eq!(flags.command, None);
}

#[test]
fn kubernetes() {
    let flags = parse(&[
        "--labels.kubernetes=required",
        "--labels.kubernetes.node=worker-1.example",
        "--labels.kubernetes.pods=node",
        "--labels.proxy-containers=envoy, sidecar,,",
    ]);
    let kubernetes = flags.unwrap().kubernetes;
    assert_eq!((kubernetes.mode, kubernetes.pods), (KubernetesMode::Required, PodsWatched::Node));
    assert_eq!(kubernetes.node().as_deref(), Some("worker-1.example"));
    assert_eq!(kubernetes.proxy_containers.0, ["envoy", "sidecar"]);
    assert!(mistake(&["--labels.kubernetes=yes"]).contains("allowed: auto, off, required"));
    assert!(
        mistake(&["--labels.kubernetes.node=a,b"])
            .contains("--labels.kubernetes.node: \"a,b\": must not contain")
    );
    assert!(mistake(&["--labels.proxy-containers=a_b"]).contains("no container's name"));
}

#[test]
fn cloud() {
    let flags = parse(&[]).unwrap();
    assert_eq!(flags.cloud.ranges, Vec::<std::path::PathBuf>::new());
    let metadata = flags.cloud.metadata();
    assert_eq!(metadata.mode, MetadataMode::Auto);
    assert_eq!(metadata.endpoint.to_string(), "http://169.254.169.254");
    let flags = parse(&[
        "--labels.cloud-ranges=/a,/b",
        "--labels.cloud-ranges=/c d",
        "--labels.cloud-metadata=GCP",
        "--labels.cloud-metadata.endpoint=http://[::1]:8080",
    ])
    .unwrap();
    assert_eq!(flags.cloud.ranges, ["/a", "/b", "/c d"].map(std::path::PathBuf::from));
    let metadata = flags.cloud.metadata();
    assert_eq!(metadata.mode, MetadataMode::Only(Provider::Google));
    assert_eq!(metadata.endpoint.to_string(), "http://[::1]:8080");
    assert!(mistake(&["--labels.cloud-ranges=/a,"]).contains("--labels.cloud-ranges: needs a value"));
    assert!(mistake(&["--labels.cloud-metadata=ibm"]).contains("allowed: auto, off, aws, gcp, azure"));
    assert!(mistake(&["--labels.cloud-metadata.endpoint=https://x"]).contains(
        "--labels.cloud-metadata.endpoint: \"https://x\": must be http://HOST or http://HOST:PORT"
    ));
}

#[test]
fn values() {
    let flags = parse(&[
        "--web.listen-address=127.0.0.1:0,[::1]:9",
        "--web.listen-address",
        "localhost:80",
        "--labels.add=client_pod, server_pod,,client_pod",
        "--labels.drop=server_zone",
        "--labels.service-ports=50051, 33000",
        "--series.idle-timeout=1h30m",
        "--log.format=JSON",
        "check",
        "--series.limit=200",
    ])
    .unwrap();
    let shown: Vec<_> = flags.listen_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1:0", "[::1]:9", "localhost:80"]);
    let ListenAddress::Tcp { host, .. } = &flags.listen_addresses[2] else { panic!("no port") };
    assert_eq!(*host, Host::Name("localhost".to_owned()));
    assert_eq!(flags.labels_add.0, ["client_pod", "server_pod"]);
    assert_eq!(flags.labels_drop.0, ["server_zone"]);
    assert_eq!(flags.service_ports(), [50051, 33000]);
    assert_eq!(flags.series_idle_timeout, Duration::from_secs(5400));
    assert_eq!((flags.log_format, flags.series_limit), (LogFormat::Json, 200));
    assert_eq!(flags.command, Some(Command::Check(CheckFlags::default())));
}

#[test]
fn the_last_word_on_a_collector_counts() {
    for (arguments, expected) in [
        (&["--collector.tcp"][..], true),
        (&["--no-collector.tcp"], false),
        (&["--collector.tcp=false"], false),
        (&["--no-collector.tcp", "--collector.tcp"], true),
        (&["--collector.tcp", "--no-collector.tcp"], false),
    ] {
        assert_eq!(parse(arguments).unwrap().collector_tcp(), expected, "{arguments:?}");
    }
}

#[test]
fn dns() {
    let flags = parse(&["--dns.timeout=60s", "--dns.ports=5353, 53,53", "--dns.names=1000"]).unwrap();
    assert_eq!(flags.dns.timeout, Duration::from_secs(60));
    assert_eq!((flags.dns.ports(), flags.dns.names), (&[5353, 53][..], 1000));
    let without = parse(&["--no-collector.udp", "--collector.dns=false"]).unwrap();
    assert!(without.collector_tcp() && !without.collector_udp() && !without.collector_dns());
    assert!(without.collector_node() && !parse(&["--no-collector.node"]).unwrap().collector_node());
}

#[test]
fn every_mistake_names_its_flag_and_the_reason() {
    for (arguments, expected) in [
        (
            &["--series.limit=199"][..],
            "--series.limit: \"199\": must be a whole number from 200 to 4294967295",
        ),
        (&["--series.limit=-1"], "--series.limit: \"-1\": must be"),
        (&["--series.limit=\n\u{1b}"], "--series.limit: \"\\n\\u{1b}\": must be"),
        (&["--series.idle-timeout=5"], "--series.idle-timeout: \"5\": is not a duration such as"),
        (&["--series.idle-timeout=10ms"], "must be at least 1s"),
        (&["--web.listen-address=10950"], "must be [HOST]:PORT"),
        (&["--web.listen-address=::1:80"], "an IPv6 address must be in brackets"),
        (&["--web.listen-address=[::g]:80"], "\"::g\" is not an IPv6 address"),
        (&["--web.listen-address=:65536"], "\"65536\" is not a port between 0 and 65535"),
        (&["--web.listen-address=a/b:80"], "\"a/b\" is neither an address nor a host name"),
        (&["--web.listen-address=1.2.3:80"], "neither an address nor a host name"),
        (&["--web.telemetry-path=metrics"], "--web.telemetry-path: \"metrics\": must begin with /"),
        (&["--web.telemetry-path=/"], "is taken by another page"),
        (&["--web.telemetry-path=/-/ready"], "is taken by another page"),
        (&["--web.telemetry-path=/flows"], "is taken by another page"),
        (&["--web.flows=maybe"], "--web.flows: \"maybe\": is not valid; allowed: on, off"),
        (&["--web.flows.addresses=99"], "--web.flows.addresses: \"99\": "),
        (&["--web.telemetry-path=/a?b"], "must not contain '?'"),
        (&["--dns.timeout=99ms"], "--dns.timeout: \"99ms\": must be from 100ms to 60s"),
        (&["--dns.timeout=61s"], "must be from 100ms to 60s"),
        (&["--dns.timeout=fast"], "is not a duration such as 500ms or 5s"),
        (&["--dns.ports=53,dns"], "--dns.ports: \"53,dns\": \"dns\" is not a port between 1 and 65535"),
        (&["--dns.ports=,"], "must name a port; --no-collector.dns does without DNS"),
        (&["--dns.ports=1,2,3,4,5,6,7,8,9"], "must name at most 8 ports, not 9"),
        (&["--dns.names=1001"], "--dns.names: \"1001\": must be a whole number from 0 to 1000"),
        (&["--dns.names=-1"], "must be a whole number from 0 to 1000"),
        (&["--no-collector.udp=1"], "--no-collector.udp: takes no value"),
        (&["--labels.service-ports=1,0"], "--labels.service-ports: \"1,0\": \"0\" is not a port"),
        (&["--path.procfs=/nonexistent"], "--path.procfs: \"/nonexistent\": is not a directory"),
        (&["--log.level=loud"], "--log.level: \"loud\": is not valid; allowed: error, warn, info, debug"),
        (&["--log.level"], "--log.level: needs a value"),
        (&["--log.level=info", "--log.level=warn"], "--log.level: is given more than once"),
        (&["--collector.tcp=2"], "--collector.tcp: \"2\": is not valid; allowed: true, false"),
        (&["--no-collector.tcp=1"], "--no-collector.tcp: takes no value"),
        (&["--series.limt=3"], "--series.limt: no such flag; did you mean --series.limit?"),
        (&["--zzz"], "--zzz: no such flag; see flowgauge --help"),
        (&["frob"], "\"frob\": no such command"),
    ] {
        let line = mistake(arguments);
        assert!(line.starts_with("flowgauge: ") && line.contains(expected), "{arguments:?}: {line}");
    }
}

#[test]
fn labels_are_known_ones_and_observer_stays() {
    let line = mistake(&["--labels.add=client_pod,foo"]);
    assert!(
        line.ends_with(&format!("label \"foo\" is not known; allowed: {}", OPTIONAL_LABELS.join(", "))),
        "{line}"
    );
    assert!(mistake(&["--labels.add=observer"]).contains("is always there"));
    assert!(mistake(&["--labels.drop=observer"]).contains("counted twice; allowed: client_namespace,"));
    assert!(mistake(&["--labels.drop=client_pod"]).contains("only there when --labels.add asks"));
    let all =
        parse(&["--labels.add", &OPTIONAL_LABELS.join(","), "--labels.drop", &DEFAULT_LABELS[1..].join(",")]);
    assert_eq!(all.unwrap().labels_drop.0, DEFAULT_LABELS[1..]);
}

#[test]
fn help_and_version_are_no_mistakes() {
    assert!(matches!(parse(&["--help"]), Err(Usage::Show(text)) if text.contains("--series.limit")));
    assert!(matches!(parse(&["--version"]), Err(Usage::Show(text)) if text.starts_with("flowgauge 0.")));
}

/// The table of `docs/operations.md`, from the definitions.
fn table() -> String {
    use clap::CommandFactory as _;
    let mut table = String::from("| flag | environment | default | meaning |\n|---|---|---|---|\n");
    for argument in Flags::command().get_arguments() {
        let Some(flag) = argument.get_long() else { continue };
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if argument.get_action().takes_values() { defaults.join(",") } else { String::new() };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let cells = [code(&format!("--{flag}")), code(&variable), code(&default), help];
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

#[test]
fn the_manual_has_the_flags_as_they_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (_, rest) = manual.split_once("<!-- flags -->\n").unwrap();
    let (written, _) = rest.split_once("<!-- /flags -->").unwrap();
    assert!(written == table(), "the flags in docs/operations.md should be:\n\n{}", table());
}

#[test]
fn every_flag_that_takes_a_value_has_the_environment_variable_of_its_name() {
    use clap::CommandFactory as _;
    for argument in Flags::command().get_arguments().filter(|argument| argument.get_action().takes_values()) {
        let name = argument.get_long().unwrap().to_ascii_uppercase().replace(['.', '-'], "_");
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(variable, Some(format!("FLOWGAUGE_{name}")));
    }
}
