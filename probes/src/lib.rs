//! All that knows the kernel.
