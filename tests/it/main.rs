//! The integration tests: one binary, private servers.
