// SPDX-License-Identifier: Apache-2.0
//! Instance metadata service of Azure: one document.

use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;

use super::http::Service;
use super::{Instance, name};
use crate::cloud::Provider;

const PATH: &str = "/metadata/instance?api-version=2021-02-01";

#[derive(Deserialize)]
struct Document {
    compute: Compute,
}

#[derive(Deserialize)]
struct Compute {
    location: String,
    /// `1`, `2`, `3`; empty for a machine in no zone.
    #[serde(default)]
    zone: String,
    #[serde(rename = "vmId")]
    vm_id: String,
}

pub(super) async fn ask(service: &Service) -> Result<Instance, String> {
    let answer = service.get(PATH, "metadata", HeaderValue::from_static("true")).await?;
    let document: Document =
        serde_json::from_str(&answer.body).map_err(|error| format!("{PATH}: {error}"))?;
    let Compute { location, zone, vm_id } = document.compute;
    let location = location.to_lowercase();
    Ok(Instance {
        provider: Provider::Azure,
        region: name("location", &location)?,
        // As the cloud's own controller labels nodes.
        zone: if zone.is_empty() { Arc::default() } else { name("zone", &format!("{location}-{zone}"))? },
        id: name("vmId", &vm_id)?,
    })
}
