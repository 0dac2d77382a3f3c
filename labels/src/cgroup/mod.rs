// SPDX-License-Identifier: Apache-2.0
//! Control groups: which hierarchies are mounted, which directory an id belongs to, what a directory's path says.

pub(crate) mod container;
mod layout;
pub(crate) mod path;
pub(crate) mod tree;
pub(crate) mod unit;

pub use layout::{Controller, Layout, Mode, cgroup_layout};
