// SPDX-License-Identifier: Apache-2.0
//! Whose virtual machine this is, by what its firmware says (SMBIOS, as the kernel shows it in sysfs).

use std::path::Path;

use crate::cloud::Provider;
use crate::file::read_capped;

/// Below sysfs.
pub(super) const DIRECTORY: &str = "class/dmi/id";

/// Azure's own, which other machines of Microsoft's hypervisor do not have.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The provider that made this machine; None for hardware and for the machines of others.
pub(super) fn provider(sysfs: &Path) -> Option<Provider> {
    let fact = |name: &str| {
        let bytes = read_capped(&sysfs.join(DIRECTORY).join(name), 4096).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    // Nitro and bare metal say so; Xen says it in the version of its BIOS (`4.11.amazon`).
    if fact("sys_vendor") == "Amazon EC2"
        || fact("bios_vendor") == "Amazon EC2"
        || fact("bios_version").to_ascii_lowercase().ends_with(".amazon")
    {
        return Some(Provider::Aws);
    }
    if fact("product_name") == "Google Compute Engine" {
        return Some(Provider::Google);
    }
    (fact("chassis_asset_tag") == AZURE_ASSET_TAG).then_some(Provider::Azure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_by_their_firmware() {
        for (facts, expected) in [
            (&[("sys_vendor", "Amazon EC2"), ("product_name", "m5.large")][..], Some(Provider::Aws)),
            (&[("sys_vendor", "Xen"), ("bios_version", "4.11.amazon")], Some(Provider::Aws)),
            (&[("sys_vendor", "Google"), ("product_name", "Google Compute Engine")], Some(Provider::Google)),
            (&[("sys_vendor", "Google"), ("product_name", "Kohaku")], None),
            (
                &[("sys_vendor", "Microsoft Corporation"), ("chassis_asset_tag", AZURE_ASSET_TAG)],
                Some(Provider::Azure),
            ),
            (&[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")], None),
            (&[("sys_vendor", "QEMU"), ("bios_version", "1.16.2-debian")], None),
            (&[], None),
        ] {
            let sysfs = tempfile::tempdir().unwrap();
            let directory = sysfs.path().join(DIRECTORY);
            std::fs::create_dir_all(&directory).unwrap();
            for (name, value) in facts {
                std::fs::write(directory.join(name), format!("{value}\n")).unwrap();
            }
            assert_eq!(provider(sysfs.path()), expected, "{facts:?}");
        }
    }
}
