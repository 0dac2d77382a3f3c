// SPDX-License-Identifier: Apache-2.0
//! The files that flags name.

use std::path::Path;

use super::{Item, cloud};
use crate::app;
use crate::flags::Flags;
use crate::web::WebConfig;

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
    items.extend(flags.serving.config_file().map(web_config));
    items.extend(cloud::items(flags));
    items
}

fn web_config(path: &Path) -> Item {
    const NAME: &str = "web config";
    match WebConfig::load(path, |_| ()) {
        Ok(config) if config.ignored.is_empty() => Item::ok(NAME, config.summary()),
        Ok(config) => Item::warn(
            NAME,
            format!("{}; {}", config.summary(), config.ignored.join("; ")),
            "none if you can do without; docs/web.md tells what is not done",
        ),
        Err(error) => Item::fail(NAME, error.to_string(), "mend the file; --web.config.file names it"),
    }
}
