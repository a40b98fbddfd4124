//! What the integration tests stand on.

pub mod binary;
pub mod broker;
pub mod network;
pub mod pace;
pub mod postgres;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
pub mod service;
pub mod stream;
pub mod trouble;
#[allow(dead_code, reason = "the tests ask, with-postgres answers")]
pub mod vhosts;
