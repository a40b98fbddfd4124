//! The public API and the admin listener.

pub mod auth;
