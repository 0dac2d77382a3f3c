// SPDX-License-Identifier: Apache-2.0

//! The kernel matrix: other kernels than the running one, booted under qemu with the real exporter inside.
//!
//! Each machine is a Debian kernel package (nothing is installed, only unpacked) and an initramfs made here: busybox,
//! `ip`, `tc`, the exporter and `fg-vm-check`, which makes known traffic and compares `/metrics` with what the kernel
//! and the two ends of each connection say. What the machine prints on its serial console is the result.

mod console;
mod cpio;
mod image;
mod initramfs;

pub use console::{Boot, Outcome};
pub use image::Image;
pub use initramfs::Initramfs;
