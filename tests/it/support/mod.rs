//! What the integration tests stand on.

pub mod binary;
pub mod pace;
pub mod postgres;
pub mod service;
pub mod stream;
pub mod trouble;
