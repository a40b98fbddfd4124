//! The Postgres adapters.

pub mod cluster;
pub mod migrate;
