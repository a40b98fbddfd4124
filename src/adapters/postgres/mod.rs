//! The Postgres adapters.

mod call;
pub mod cluster;
pub mod credentials;
pub mod migrate;
pub mod outbox;
pub mod platforms;
pub mod reads;
pub mod replicas;
pub mod seed;
pub mod signals;
pub mod teams;
pub mod upkeep;
