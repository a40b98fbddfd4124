//! The Postgres adapters.
