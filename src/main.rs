//! The vz-sync binary.
fn main() {}
