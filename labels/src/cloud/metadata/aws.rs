// SPDX-License-Identifier: Apache-2.0
//! Instance metadata service of AWS, version 2: a token first, then one value a request.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::http::{Failure, Service};
use super::{Instance, name};
use crate::cloud::Provider;

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

pub(super) async fn ask(service: &Service) -> Result<Instance, String> {
    let token = service.send(Method::PUT, "/latest/api/token", TTL, HeaderValue::from_static("60")).await?;
    let mut token =
        HeaderValue::from_str(token.body.trim()).map_err(|_| "the token is no text for a header")?;
    token.set_sensitive(true);
    let zone = service.get("/latest/meta-data/placement/availability-zone", TOKEN, token.clone()).await?;
    let region = service.get("/latest/meta-data/placement/region", TOKEN, token.clone()).await;
    let id = service.get("/latest/meta-data/instance-id", TOKEN, token).await;
    Ok(Instance {
        provider: Provider::Aws,
        zone: name("availability zone", zone.body.trim())?,
        region: optional("region", region.map(|answer| answer.body))?,
        id: optional("instance id", id.map(|answer| answer.body))?,
    })
}

/// Private clouds that speak the same protocol do not know everything.
fn optional(what: &str, told: Result<String, Failure>) -> Result<Arc<str>, String> {
    match told {
        Ok(told) => name(what, told.trim()),
        Err(Failure::NotFound(_)) => Ok(Arc::default()),
        Err(failure) => Err(failure.into()),
    }
}
