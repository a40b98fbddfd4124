//! The Postgres adapters.

pub mod cluster;
mod error;
pub mod migrate;
pub mod pool;
pub mod store;
