// SPDX-License-Identifier: Apache-2.0
//! Names from the Kubernetes API.

#[allow(dead_code, reason = "nothing feeds it yet")]
mod objects;
