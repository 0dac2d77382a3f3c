// SPDX-License-Identifier: Apache-2.0
//! Whether what cloud providers publish can be used.

use std::path::Path;

use flowgauge_labels::{MetadataMode, check_cloud_metadata, check_cloud_ranges};

use super::Item;
use crate::flags::Flags;

const FETCH: &str = "fetch the file again as the provider publishes it (docs/cloud.md tells where), or leave it out of \
                     --labels.cloud-ranges; without it only its names are missing";
const REACH: &str = "let this process reach the service (firewall, IPAddressDeny=, on AWS the instance's metadata options), or \
                     set --labels.cloud-metadata=off; without it only zone, region and instance id of this machine are missing";

/// The files of ranges, and the metadata service.
pub fn items(flags: &Flags) -> Vec<Item> {
    let mut items: Vec<_> = flags.cloud.ranges.iter().map(|path| file(path)).collect();
    let config = flags.cloud.metadata();
    items.push(match check_cloud_metadata(&config, &flags.paths.sysfs) {
        Ok(finding) => Item::ok("cloud metadata", finding),
        Err(reason) if config.mode == MetadataMode::Auto => Item::warn("cloud metadata", reason, REACH),
        Err(reason) => Item::fail("cloud metadata", reason, REACH),
    });
    items
}

fn file(path: &Path) -> Item {
    match check_cloud_ranges(path) {
        Ok(finding) => Item::ok("cloud ranges", finding),
        Err(reason) => Item::fail("cloud ranges", reason, FETCH),
    }
}

#[cfg(test)]
mod tests {
    use super::{file, items};
    use crate::check::Verdict;
    use crate::flags::Flags;

    #[test]
    fn a_bad_file_fails_and_a_missing_service_does_if_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
        std::fs::write(&good, r#"{"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}]}"#).unwrap();
        std::fs::write(&bad, "{").unwrap();
        assert_eq!((file(&good).verdict, file(&bad).verdict), (Verdict::Ok, Verdict::Fail));
        assert!(file(&good).finding.ends_with("good: 1 prefixes of gcp"));
        // Nobody listens on a port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = format!("--labels.cloud-metadata.endpoint=http://127.0.0.1:{port}");
        let asked = |mode: &str| {
            let flags = ["flowgauge", &endpoint, mode].map(std::ffi::OsString::from);
            let items = items(&Flags::parse_from(flags).unwrap());
            (items[0].verdict, items[0].finding.clone())
        };
        assert_eq!(asked("--labels.cloud-metadata=off").0, Verdict::Ok);
        let (verdict, finding) = asked("--labels.cloud-metadata=azure");
        assert_eq!(verdict, Verdict::Fail);
        assert!(finding.starts_with("azure: http://127.0.0.1:") && finding.contains("refused"), "{finding}");
    }
}
