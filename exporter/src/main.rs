//! The Flowgauge exporter.
fn main() {}
