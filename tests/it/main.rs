//! The integration tests: one binary, private servers.

mod schema;
mod support;
