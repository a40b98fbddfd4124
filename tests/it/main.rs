//! The integration tests: one binary, private servers.

mod cluster;
mod e2e;
mod network;
mod schema;
mod sides;
mod store;
mod support;
