// SPDX-License-Identifier: Apache-2.0
//! What samples of DNS messages tell besides the kernel's counts: which NXDOMAIN answers are only search-list noise, which
//! domains are asked for most, and what names addresses go by.
//!
//! Samples may be lost and are hostile: nothing here makes up counts, and everything is bounded.

mod domains;
mod messages;
mod name;
mod resolv_conf;
mod search;

pub use domains::Domains;
pub use messages::Messages;
#[cfg(test)]
pub use name::Name;
pub use resolv_conf::SearchList;
