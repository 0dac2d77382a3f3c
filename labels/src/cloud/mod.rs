// SPDX-License-Identifier: Apache-2.0
//! What cloud providers publish: whose address ranges are whose, and to a virtual machine where it runs.

pub mod metadata;
pub mod ranges;

/// A provider of which the published files and the metadata service are known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google, and Google Cloud.
    Google,
    /// Microsoft Azure.
    Azure,
}

impl Provider {
    /// As in `--labels.cloud-metadata` and in the label `provider`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::Aws => "aws",
            Provider::Google => "gcp",
            Provider::Azure => "azure",
        }
    }
}
