//! The Postgres adapters.

mod account;
mod call;
pub mod cluster;
pub mod connect;
pub mod credentials;
mod error;
pub mod migrate;
pub mod outbox;
pub mod ownership;
pub mod platforms;
pub mod pool;
pub mod reads;
pub mod replicas;
pub mod seed;
pub mod signals;
pub mod store;
pub mod teams;
pub mod upkeep;
