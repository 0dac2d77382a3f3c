// SPDX-License-Identifier: Apache-2.0
//! Names from the Kubernetes API.

pub(crate) mod cluster;
pub mod objects;
