//! The end-to-end world.
