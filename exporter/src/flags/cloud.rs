// SPDX-License-Identifier: Apache-2.0
//! `--labels.cloud…`: names and places from what cloud providers publish.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use flowgauge_labels::{Endpoint, MetadataConfig, MetadataMode, Provider};

/// What cloud providers publish.
#[derive(Args, Clone, Debug)]
pub struct CloudFlags {
    /// File of address ranges as AWS, Google or Azure publish it; may be repeated or a comma list.
    #[arg(
        long = "labels.cloud-ranges",
        env = "FLOWGAUGE_LABELS_CLOUD_RANGES",
        value_name = "FILE",
        value_delimiter = ',',
        global = true
    )]
    pub ranges: Vec<PathBuf>,

    /// Ask the provider's metadata service once for zone, region and instance id: the one that the firmware names, none, or this one.
    #[arg(
        long = "labels.cloud-metadata",
        env = "FLOWGAUGE_LABELS_CLOUD_METADATA",
        value_name = "PROVIDER",
        default_value = "auto",
        ignore_case = true,
        global = true
    )]
    metadata: Whom,

    /// Where the metadata service is, `http://HOST[:PORT]`.
    #[arg(
        long = "labels.cloud-metadata.endpoint",
        env = "FLOWGAUGE_LABELS_CLOUD_METADATA_ENDPOINT",
        value_name = "URL",
        default_value_t = Endpoint::default(),
        global = true
    )]
    endpoint: Endpoint,
}

/// Whom to ask.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Auto,
    Off,
    Aws,
    Gcp,
    Azure,
}

impl CloudFlags {
    /// Whom to ask where this machine runs, and where.
    pub fn metadata(&self) -> MetadataConfig {
        let mode = match self.metadata {
            Whom::Auto => MetadataMode::Auto,
            Whom::Off => MetadataMode::Off,
            Whom::Aws => MetadataMode::Only(Provider::Aws),
            Whom::Gcp => MetadataMode::Only(Provider::Google),
            Whom::Azure => MetadataMode::Only(Provider::Azure),
        };
        MetadataConfig { mode, endpoint: self.endpoint.clone() }
    }
}
