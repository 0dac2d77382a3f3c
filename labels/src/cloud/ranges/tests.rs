// SPDX-License-Identifier: Apache-2.0

use std::fs;

use proptest::prelude::*;

use super::table::{MAX_NAMES, MAX_PREFIXES};
use super::*;

/// As AWS publishes it, entries chosen and changed.
const AWS: &str = r#"{
  "syncToken": "1718000000",
  "createDate": "2024-06-10-06-13-20",
  "prefixes": [
    {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "AMAZON", "network_border_group": "ap-northeast-2"},
    {"ip_prefix": "52.94.0.0/16", "region": "us-east-1", "service": "AMAZON", "network_border_group": "us-east-1"},
    {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "S3", "network_border_group": "ap-northeast-2"},
    {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "EC2", "network_border_group": "ap-northeast-2"},
    {"ip_prefix": "52.94.76.0/22", "region": "us-west-2", "service": "EC2", "network_border_group": "us-west-2"},
    {"ip_prefix": "52.94.198.0/28", "region": "GLOBAL", "service": "CLOUDFRONT", "network_border_group": "GLOBAL"}
  ],
  "ipv6_prefixes": [
    {"ipv6_prefix": "2a05:d07a:a000::/40", "region": "eu-south-1", "service": "AMAZON", "network_border_group": "eu-south-1"},
    {"ipv6_prefix": "2a05:d07a:a000::/40", "region": "eu-south-1", "service": "S3", "network_border_group": "eu-south-1"}
  ]
}"#;

const CLOUD_JSON: &str = r#"{
  "syncToken": "1718000000000",
  "creationTime": "2024-06-10T06:13:20.00000",
  "prefixes": [{
    "ipv4Prefix": "34.80.0.0/15",
    "service": "Google Cloud",
    "scope": "asia-east1"
  }, {
    "ipv6Prefix": "2600:1900:4000::/44",
    "service": "Google Cloud",
    "scope": "us-central1"
  }, {
    "ipv4Prefix": "34.98.64.0/18",
    "service": "Google Cloud",
    "scope": "global"
  }]
}"#;

const GOOG_JSON: &str = r#"{
  "syncToken": "1718000000000",
  "creationTime": "2024-06-10T06:13:20.00000",
  "prefixes": [{
    "ipv4Prefix": "8.8.8.0/24"
  }, {
    "ipv4Prefix": "34.64.0.0/10"
  }, {
    "ipv4Prefix": "34.81.7.0/24"
  }, {
    "ipv6Prefix": "2001:4860::/32"
  }]
}"#;

const AZURE: &str = r#"{
  "changeNumber": 300,
  "cloud": "Public",
  "values": [
    {
      "name": "Storage", "id": "Storage",
      "properties": {
        "changeNumber": 9, "region": "", "regionId": 0, "platform": "Azure", "systemService": "AzureStorage",
        "addressPrefixes": ["20.38.98.0/24", "20.60.0.0/24", "2603:1000:4::/47"], "networkFeatures": ["API", "NSG"]
      }
    },
    {
      "name": "AzureCloud.eastus", "id": "AzureCloud.eastus",
      "properties": {
        "changeNumber": 9, "region": "eastus", "regionId": 32, "platform": "Azure", "systemService": "",
        "addressPrefixes": ["20.38.98.0/24", "20.42.0.0/17", "20.60.0.0/16"], "networkFeatures": []
      }
    },
    {
      "name": "Storage.EastUS", "id": "Storage.EastUS",
      "properties": {
        "changeNumber": 9, "region": "eastus", "regionId": 32, "platform": "Azure", "systemService": "AzureStorage",
        "addressPrefixes": ["20.38.98.0/24"], "networkFeatures": []
      }
    },
    {
      "name": "AzureCloud", "id": "AzureCloud",
      "properties": {
        "changeNumber": 9, "region": "", "regionId": 0, "platform": "Azure", "systemService": "",
        "addressPrefixes": ["20.38.98.0/24", "13.64.0.0/16", "13.107.6.152/31"], "networkFeatures": []
      }
    },
    {
      "name": "ActionGroup", "id": "ActionGroup",
      "properties": {
        "changeNumber": 9, "region": "", "regionId": 0, "platform": "Azure", "systemService": "ActionGroup",
        "addressPrefixes": ["13.66.60.119/32"], "networkFeatures": []
      }
    }
  ]
}"#;

fn opened(dir: &Path, texts: &[&str]) -> (Vec<PathBuf>, CloudRanges) {
    let write = |(number, text): (usize, &&str)| {
        let path = dir.join(format!("{number}.json"));
        fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<_> = texts.iter().enumerate().map(write).collect();
    (paths.clone(), CloudRanges::open(paths))
}

fn named(ranges: &CloudRanges, addr: &str) -> String {
    ranges.look_up(addr.parse().unwrap()).map_or_else(String::new, |range| {
        if range.region.is_empty() {
            range.workload.to_string()
        } else {
            format!("{} in {}", range.workload, range.region)
        }
    })
}

fn fault(text: &str) -> String {
    parse::parse(text.as_bytes()).map(|table| table.len()).unwrap_err().to_string()
}

#[test]
fn every_published_format_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ranges) = opened(dir.path(), &[AWS, CLOUD_JSON, GOOG_JSON, AZURE]);
    for (addr, expected) in [
        ("3.5.140.1", "aws-s3 in ap-northeast-2"),
        ("::ffff:3.5.140.1", "aws-s3 in ap-northeast-2"),
        ("64:ff9b::3.5.140.1", "aws-s3 in ap-northeast-2"),
        ("52.94.1.1", "aws in us-east-1"),
        ("52.94.79.255", "aws-ec2 in us-west-2"),
        ("52.94.80.0", "aws in us-east-1"),
        ("52.94.198.1", "aws-cloudfront"), // global, although the range around it is not
        ("2a05:d07a:a000::1", "aws-s3 in eu-south-1"),
        ("2a05:d07a:a100::1", ""),
        ("34.80.3.4", "google-cloud in asia-east1"),
        ("34.98.64.1", "google-cloud"),
        ("34.100.0.1", "google"),
        ("34.81.7.8", "google in asia-east1"), // a longer prefix that tells no region
        ("8.8.8.8", "google"),
        ("2600:1900:4000::5", "google-cloud in us-central1"),
        ("2001:4860:4860::8888", "google"),
        ("20.38.98.7", "azure-storage in eastus"),
        ("20.60.0.7", "azure-storage in eastus"),
        ("20.60.1.7", "azure-cloud in eastus"),
        ("13.64.9.9", "azure-cloud"),
        ("13.66.60.119", "azure-actiongroup"),
        ("2603:1000:5::1", "azure-storage"),
        ("192.0.2.1", ""),
        ("10.0.0.1", ""),
        ("::1", ""),
    ] {
        assert_eq!(named(&ranges, addr), expected, "{addr}");
    }
    let status = ranges.status().unwrap();
    assert_eq!((status.source, status.up, status.entries), ("cloud_ranges", true, 5 + 3 + 4 + 8));
    assert!(status.detail.contains("0.json: 5 prefixes of aws; "), "{}", status.detail);
    assert_eq!(CloudRanges::open(Vec::new()).status(), None);
}

#[test]
fn the_order_of_entries_and_files_is_nothing_to_the_answer() {
    let entry = |service: &str, region: &str| {
        format!(r#"{{"ip_prefix":"198.18.0.0/16","region":"{region}","service":"{service}"}}"#)
    };
    let entries = [entry("AMAZON", "r-9"), entry("EC2", "r-2"), entry("S3", "r-1"), entry("S3", "GLOBAL")];
    let file = |order: [usize; 4]| {
        let entries = order.map(|at| entries[at].clone()).join(",");
        parse::parse(format!(r#"{{"prefixes":[{entries}]}}"#).as_bytes()).unwrap()
    };
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let table = file(order);
        let hit = table.look_up("198.18.1.1".parse().unwrap()).unwrap();
        assert_eq!((&**hit.workload, &**hit.own_region().unwrap()), ("aws-s3", "r-1"), "{order:?}");
    }

    let google = r#"{"prefixes":[{"ipv4Prefix":"198.18.0.0/16","service":"Google Cloud","scope":"one"}]}"#;
    let aws = format!(r#"{{"prefixes":[{}]}}"#, entries[2]);
    let longer = r#"{"prefixes":[{"ipv4Prefix":"198.18.4.0/24"}]}"#;
    for texts in [[&aws, google, longer], [longer, google, &aws]] {
        let dir = tempfile::tempdir().unwrap();
        let (_, ranges) = opened(dir.path(), &texts);
        assert_eq!(named(&ranges, "198.18.1.1"), "aws-s3 in r-1", "a service says more");
        assert_eq!(
            named(&ranges, "198.18.4.1"),
            "google in one",
            "longer, and the region of its own provider"
        );
    }
}

#[test]
fn faults_tell_where() {
    for (text, expected) in [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("<!DOCTYPE html>", "this is a web page, not the file that it leads to"),
        ("{\n  \"prefixes\": [,]\n}", "2:16: expected value"),
        ("{\"prefixes\": [", "1:14: EOF while parsing a list"),
        ("[]", "1:0: invalid type: sequence, expected an object with `prefixes` or `values`"),
        ("{\"prefixes\": 3}", "1:14: prefixes: invalid type: integer `3`, expected a list"),
        (
            "{\"prefixes\": [\n{\"ip_prefix\": \"1.2.3.0/24\"},\n{\"ip_prefix\": \"1.2.3.0/33\"}]}",
            "3:27: prefixes[1].ip_prefix: \"1.2.3.0/33\" is no prefix such as 192.0.2.0/24",
        ),
        (
            "{\"ipv6_prefixes\": [{\"ipv6_prefix\": 7}]}",
            "1:36: ipv6_prefixes[0].ipv6_prefix: invalid type: integer `7`, expected text",
        ),
        (
            "{\"prefixes\": [{\"cidr\": \"1.2.3.0/24\"}]}",
            "1:37: prefixes[0]: has none of ip_prefix, ipv6_prefix, ipv4Prefix, ipv6Prefix",
        ),
        (
            "{\"values\": [{\"name\": \"x\", \"properties\": {\"addressPrefixes\": [\"a\\nb\"]}}]}",
            "1:68: values[0].properties.addressPrefixes[0]: \"a\\nb\" is no prefix such as 192.0.2.0/24",
        ),
        (
            "{\"values\": [{\"name\": \"x\", \"properties\": {}}]}",
            "1:42: values[0].properties: missing field `addressPrefixes`",
        ),
        (
            "{\"prefixes\": [{\"ip_prefix\": \"1.2.3.0/24\"}, {\"ipv4Prefix\": \"1.2.4.0/24\"}]}",
            "1:72: prefixes[1]: an entry as in files of gcp, but the file began as one of aws",
        ),
        (
            "{\"kind\": \"List\"}",
            "neither AWS's ip-ranges.json, nor Google's cloud.json or goog.json, nor Azure's ServiceTags: it has no prefix",
        ),
        (
            "{\"prefixes\": []}",
            "neither AWS's ip-ranges.json, nor Google's cloud.json or goog.json, nor Azure's ServiceTags: it has no prefix",
        ),
        ("{\"prefixes\": [{\"ip_prefix\": \"1.2.3.0/24\"}]} x", "1:45: trailing characters"),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
    assert!(parse::parse(format!("\u{feff}{AWS}").as_bytes()).is_ok(), "a byte order mark is no fault");
    assert!(
        fault(&format!("{{\"prefixes\": [{{\"ip_prefix\": \"{}\"}}]}}", "x".repeat(100_000))).len() < 500
    );
    assert!(fault(&"[".repeat(100_000)).len() < 500);
}

#[test]
fn what_a_file_may_hold_is_bounded() {
    let list = |count: usize, entry: &dyn Fn(usize) -> String| {
        let entries: Vec<_> = (0..count).map(entry).collect();
        format!(r#"{{"prefixes":[{}]}}"#, entries.join(","))
    };
    let same = list(MAX_PREFIXES + 1, &|_| r#"{"ip_prefix":"1.2.3.4"}"#.to_owned());
    assert!(fault(&same).contains("prefixes[500000]: more than 500000 prefixes"), "{}", fault(&same));
    let services = list(MAX_NAMES + 1, &|n| format!(r#"{{"ip_prefix":"1.2.3.4","service":"s{n}"}}"#));
    assert!(fault(&services).contains("prefixes[1000]: more than 1000 services"), "{}", fault(&services));
    let regions = list(MAX_NAMES + 1, &|n| format!(r#"{{"ip_prefix":"1.2.3.4","region":"s{n}"}}"#));
    assert!(fault(&regions).contains("more than 1000 regions"), "{}", fault(&regions));
    let prefixes: Vec<_> = (0..=MAX_PREFIXES).map(|_| "\"1.2.3.4\"").collect();
    let tag = format!(
        r#"{{"values":[{{"name":"x","properties":{{"addressPrefixes":[{}]}}}}]}}"#,
        prefixes.join(",")
    );
    assert!(fault(&tag).contains("addressPrefixes: more than 500000 prefixes"), "{}", fault(&tag));
}

#[test]
fn a_bad_file_is_told_and_the_others_load() {
    let dir = tempfile::tempdir().unwrap();
    let (mut paths, _) = opened(dir.path(), &["{", AWS]);
    paths.push(dir.path().join("missing"));
    let ranges = CloudRanges::open(paths.clone());
    assert_eq!(named(&ranges, "3.5.140.1"), "aws-s3 in ap-northeast-2");
    let status = ranges.status().unwrap();
    assert_eq!((status.up, status.entries, status.reloads_failed), (false, 5, 0));
    let expected = format!(
        "cloud ranges {}:1:1: EOF while parsing an object; {}: 5 prefixes of aws; cloud ranges {}: No such file or directory (os error 2)",
        paths[0].display(),
        paths[1].display(),
        paths[2].display()
    );
    assert_eq!(status.detail, expected);
    assert!(check_cloud_ranges(&paths[0]).unwrap_err().contains("0.json:1:1: EOF"));
    assert!(check_cloud_ranges(&paths[1]).unwrap().ends_with("1.json: 5 prefixes of aws"));

    // Both are looked at again.
    for _ in 0..3 {
        assert!(!ranges.refresh());
    }
    fs::write(&paths[2], GOOG_JSON).unwrap();
    assert!(ranges.refresh());
    assert_eq!(named(&ranges, "8.8.8.8"), "google");
    fs::write(dir.path().join("new"), CLOUD_JSON).unwrap();
    fs::rename(dir.path().join("new"), &paths[0]).unwrap();
    assert!(ranges.refresh() && !ranges.refresh());
    assert_eq!(named(&ranges, "34.80.3.4"), "google-cloud in asia-east1");
    assert!(ranges.status().unwrap().up);
}

#[test]
fn files_are_read_again_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, ranges) = opened(dir.path(), &[AWS]);
    assert!(!ranges.refresh() && !ranges.reload(), "nothing has changed");
    // Written where it stands: when it holds still.
    fs::write(&paths[0], AWS.replace("ap-northeast-2", "ap-south-1")).unwrap();
    assert!(!ranges.refresh());
    assert_eq!(named(&ranges, "3.5.140.1"), "aws-s3 in ap-northeast-2");
    assert!(ranges.refresh());
    assert_eq!(named(&ranges, "3.5.140.1"), "aws-s3 in ap-south-1");
    // Bad, then gone: what was read stays.
    fs::write(&paths[0], "{\"prefixes\": 1}").unwrap();
    assert!(!ranges.reload());
    fs::remove_file(&paths[0]).unwrap();
    assert!(!ranges.refresh() && !ranges.refresh());
    let status = ranges.status().unwrap();
    assert_eq!((status.up, status.entries, status.reloads, status.reloads_failed), (false, 5, 1, 2));
    assert!(status.detail.ends_with("(os error 2); keeping the 5 prefixes read before"), "{}", status.detail);
    assert_eq!(named(&ranges, "3.5.140.1"), "aws-s3 in ap-south-1");
    fs::write(&paths[0], AWS).unwrap();
    assert!(ranges.reload(), "at once when asked to");
    assert_eq!(named(&ranges, "3.5.140.1"), "aws-s3 in ap-northeast-2");
}

/// Text as in the files, with faults.
fn near_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"prefixes\":[",
        "\"values\":[",
        "\"ipv6_prefixes\":[",
        "{\"ip_prefix\":",
        "{\"ipv4Prefix\":",
        "\"1.2.3.0/24\"",
        "\"2001:db8::/32\"",
        "\"::/0\"",
        ",\"service\":\"S3\"",
        ",\"region\":\"\"",
        "{\"name\":\"a.b\",\"properties\":{\"addressPrefixes\":[",
        "\"\\u0000\"",
        "null",
        "1e999",
        " ",
        "\n",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in near_json()) {
        for content in [&bytes[..], text.as_bytes()] {
            if let Err(fault) = parse::parse(content) {
                let fault = fault.to_string();
                prop_assert!(fault.len() < 2000 && !fault.contains(char::is_control), "{}", fault);
            }
        }
    }

    #[test]
    fn cut_files_are_faults(cut in 0..AZURE.len()) {
        prop_assert!(parse::parse(&AZURE.as_bytes()[..cut]).is_err());
    }

    /// Against a plain search through all entries.
    #[test]
    fn the_longest_prefix_wins(
        nets in prop::collection::vec((0u32..1024, 20u8..=32, 0usize..4), 1..40),
        addr in 0u32..1024,
    ) {
        let services = ["AMAZON", "EC2", "S3", "EC2_INSTANCE_CONNECT"];
        let address = |low: u32| std::net::Ipv4Addr::from(0xc612_0000 + low * 4);
        let net = |low, length| ipnet::Ipv4Net::new(address(low), length).unwrap().trunc();
        let entry = |(low, length, service): &(u32, u8, usize)| {
            format!(r#"{{"ip_prefix":"{}","region":"r","service":"{}"}}"#, net(*low, *length), services[*service])
        };
        let text = format!(r#"{{"prefixes":[{}]}}"#, nets.iter().map(entry).collect::<Vec<_>>().join(","));
        let table = parse::parse(text.as_bytes()).unwrap();
        let covering = nets.iter().filter(|(low, length, _)| net(*low, *length).contains(&address(addr)));
        let expected = covering.map(|(_, length, service)| (*length, *service)).max();
        let hit = table.look_up(address(addr).into());
        let found = hit.map(|hit| (hit.length, hit.workload.to_string()));
        let names = ["aws", "aws-ec2", "aws-s3", "aws-ec2-instance-connect"];
        prop_assert_eq!(found, expected.map(|(length, service)| (length, names[service].to_owned())));
    }
}
