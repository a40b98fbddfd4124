//! The platform client.
