// SPDX-License-Identifier: Apache-2.0
//! The files that flags name.

use super::{Item, cloud};
use crate::app;
use crate::flags::Flags;

/// Those that there are.
pub fn items(flags: &Flags) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(path) = flags.names_file() {
        items.push(match app::check_names_file(path) {
            Ok(finding) => Item::ok("names file", finding),
            Err(reason) => Item::fail("names file", reason, "mend the file; --labels.names-file names it"),
        });
    }
    if let Some(path) = flags.external_patterns() {
        items.push(match app::check_external_patterns(path) {
            Ok(finding) => Item::ok("external patterns", finding),
            Err(reason) => {
                Item::fail("external patterns", reason, "mend the file; --labels.external-patterns names it")
            }
        });
    }
    items.extend(cloud::items(flags));
    items
}
