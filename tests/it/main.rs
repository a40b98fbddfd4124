//! The integration tests: one binary, private servers.

mod bench;
mod cluster;
mod e2e;
mod schema;
mod sides;
mod store;
mod support;
