// SPDX-License-Identifier: Apache-2.0

//! The end-to-end world.

pub mod bench;
pub mod kernels;
