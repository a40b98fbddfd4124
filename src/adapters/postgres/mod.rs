//! The Postgres adapters.

pub mod migrate;
