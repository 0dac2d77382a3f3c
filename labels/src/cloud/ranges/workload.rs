// SPDX-License-Identifier: Apache-2.0
//! How the providers' own words become label values.

use crate::cloud::Provider;

/// Longest name of a service or region, in bytes; the published ones have some 40.
const MAX_NAME_BYTES: usize = 63;

/// How much a service says: of two that share a prefix, the one with more is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Specificity {
    /// All that the provider has.
    Provider,
    /// Anything that customers run.
    Compute,
    /// One service.
    Service,
}

/// The workload that a service is called by: provider, `-`, and the service's published name in lower case, its words
/// joined by `-`, without the provider's name before it.
pub(super) fn workload(provider: Provider, service: &str) -> (String, Specificity) {
    let (name, own) = match provider {
        Provider::Aws => ("aws", ["amazon", "aws"]),
        Provider::Google => ("google", ["google", "google"]),
        Provider::Azure => ("azure", ["azure", "microsoft"]),
    };
    let service = words(service);
    let rest = own.iter().find_map(|own| service.strip_prefix(own)).unwrap_or(&service);
    let rest = rest.trim_matches('-');
    let specificity = match (provider, rest) {
        (_, "") => Specificity::Provider,
        (Provider::Aws, "ec2") | (_, "cloud") => Specificity::Compute,
        _ => Specificity::Service,
    };
    let workload = if rest.is_empty() { name.to_owned() } else { format!("{name}-{rest}") };
    (workload, specificity)
}

/// A region as published, in lower case; empty for the provider's word for none.
pub(super) fn region(published: &str) -> String {
    let region = words(published);
    if region == "global" { String::new() } else { region }
}

/// Lower case letters and digits of ASCII as they are, everything between them as one `-`.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len().min(MAX_NAME_BYTES));
    for c in text.chars() {
        if words.len() >= MAX_NAME_BYTES {
            break;
        }
        if c.is_ascii_alphanumeric() {
            words.push(c.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('-') {
            words.push('-');
        }
    }
    words.truncate(words.trim_end_matches('-').len());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_called_as_people_call_them() {
        for (provider, service, expected, specificity) in [
            (Provider::Aws, "AMAZON", "aws", Specificity::Provider),
            (Provider::Aws, "EC2", "aws-ec2", Specificity::Compute),
            (Provider::Aws, "S3", "aws-s3", Specificity::Service),
            (Provider::Aws, "EC2_INSTANCE_CONNECT", "aws-ec2-instance-connect", Specificity::Service),
            (Provider::Aws, "AMAZON_CONNECT", "aws-connect", Specificity::Service),
            (Provider::Google, "", "google", Specificity::Provider),
            (Provider::Google, "Google Cloud", "google-cloud", Specificity::Compute),
            (Provider::Azure, "AzureCloud", "azure-cloud", Specificity::Compute),
            (Provider::Azure, "AzureStorage", "azure-storage", Specificity::Service),
            (Provider::Azure, "AzureSQL", "azure-sql", Specificity::Service),
            (Provider::Azure, "MicrosoftContainerRegistry", "azure-containerregistry", Specificity::Service),
            (Provider::Azure, "ActionGroup", "azure-actiongroup", Specificity::Service),
        ] {
            assert_eq!(workload(provider, service), (expected.to_owned(), specificity), "{service:?}");
        }
    }

    #[test]
    fn whatever_is_published_becomes_a_tame_label_value() {
        assert_eq!(words("  a\u{0}\"b\n__c é "), "a-b-c");
        assert_eq!(words("---"), "");
        assert_eq!(words(&"x".repeat(500)).len(), MAX_NAME_BYTES);
        assert_eq!((region("GLOBAL"), region("global")), (String::new(), String::new()));
        assert_eq!((region("us-east-1"), region("EastUS")), ("us-east-1".to_owned(), "eastus".to_owned()));
    }
}
