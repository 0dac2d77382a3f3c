// SPDX-License-Identifier: Apache-2.0
//! DNS servers and clients of the end-to-end world: dnsmasq and unbound, whose logs are the ground truth; a scripted
//! server for what they never do; a client that counts what it does.

pub mod client;
pub mod dnsmasq;
pub mod malformed;
pub mod message;
pub mod resolv;
pub mod scripted;
pub mod unbound;
