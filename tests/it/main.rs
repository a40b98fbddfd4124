//! The integration tests: one binary, private servers.

mod cluster;
mod support;
