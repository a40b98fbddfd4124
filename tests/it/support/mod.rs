//! What the integration tests stand on.

pub mod binary;
pub mod network;
pub mod postgres;
pub mod service;
pub mod stream;
