//! The integration tests: one binary, private servers.

mod cluster;
mod schema;
mod sides;
mod store;
mod support;
