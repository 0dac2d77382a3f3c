// SPDX-License-Identifier: Apache-2.0
//! Whether what cloud providers publish can be used.

use std::path::Path;

use flowgauge_labels::{check_cloud_ranges, cloud_provider};

use super::Item;
use crate::flags::Flags;

pub const FETCH: &str = "fetch the file again as the provider publishes it (docs/cloud.md tells where), or leave it out of \
                     --labels.cloud-ranges; without it only its names are missing";
pub const REACH: &str = "let this process reach the service (firewall, IPAddressDeny=, on AWS the instance's metadata options), or \
                     set --labels.cloud-metadata=off; without it only zone, region and instance id of this machine are missing";

/// The files of ranges, and why no metadata service is asked, if none is: one that is asked is a source of names.
pub fn items(flags: &Flags) -> Vec<Item> {
    let mut items: Vec<_> = flags.cloud.ranges.iter().map(|path| file(path)).collect();
    let config = flags.cloud.metadata();
    if let Err(reason) = cloud_provider(&config, &flags.paths.sysfs) {
        items.push(Item::ok("cloud metadata", reason));
    }
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
    fn a_bad_file_fails_and_a_service_that_is_not_asked_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
        std::fs::write(&good, r#"{"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}]}"#).unwrap();
        std::fs::write(&bad, "{").unwrap();
        assert_eq!((file(&good).verdict, file(&bad).verdict), (Verdict::Ok, Verdict::Fail));
        assert!(file(&good).finding.ends_with("good: 1 prefixes of gcp"));
        let flags = ["flowgauge", "--labels.cloud-metadata=off"].map(std::ffi::OsString::from);
        let told = items(&Flags::parse_from(flags).unwrap());
        assert_eq!((told[0].verdict, told[0].name.as_str()), (Verdict::Ok, "cloud metadata"));
        let flags = ["flowgauge", "--labels.cloud-metadata=azure"].map(std::ffi::OsString::from);
        assert_eq!(items(&Flags::parse_from(flags).unwrap()), [], "who is asked is a source of names");
    }
}
