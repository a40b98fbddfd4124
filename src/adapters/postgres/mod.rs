//! The Postgres adapters.

pub mod cluster;
