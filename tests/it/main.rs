//! The integration tests: one binary, private servers.

mod cluster;
mod e2e;
mod rabbitmq;
mod schema;
mod sides;
mod store;
mod support;
