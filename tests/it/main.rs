//! The integration tests: one binary, private servers.

mod bench;
mod cluster;
mod e2e;
mod network;
mod proxy;
mod rabbitmq;
mod redis;
mod schema;
mod sides;
mod store;
mod support;
