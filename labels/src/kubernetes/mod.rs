// SPDX-License-Identifier: Apache-2.0
//! Names from the Kubernetes API.

pub(crate) mod cluster;
#[allow(dead_code, reason = "nothing feeds it yet")]
pub(crate) mod objects;
