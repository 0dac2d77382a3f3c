// SPDX-License-Identifier: Apache-2.0
//! Metadata server of Google Cloud: one value a request, each with the header `Metadata-Flavor: Google`, both ways.

use http::HeaderValue;

use super::http::Service;
use super::{Instance, name};
use crate::cloud::Provider;

const FLAVOR: &str = "metadata-flavor";

pub(super) async fn ask(service: &Service) -> Result<Instance, String> {
    let zone = get(service, "/computeMetadata/v1/instance/zone").await?;
    let id = get(service, "/computeMetadata/v1/instance/id").await?;
    // `projects/123456789/zones/us-central1-a`
    let zone = name("zone", zone.trim().rsplit('/').next().unwrap_or_default())?;
    let region = zone.rsplit_once('-').map(|(region, _)| region).unwrap_or_default();
    Ok(Instance {
        provider: Provider::Google,
        region: name("region of the zone", region)?,
        zone,
        id: name("instance id", id.trim())?,
    })
}

async fn get(service: &Service, path: &'static str) -> Result<String, String> {
    let answer = service.get(path, FLAVOR, HeaderValue::from_static("Google")).await?;
    if answer.headers.get(FLAVOR).is_none_or(|flavor| flavor != "Google") {
        return Err(format!("{path}: the answer is not from Google's metadata server"));
    }
    Ok(answer.body)
}
