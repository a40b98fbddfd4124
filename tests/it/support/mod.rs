//! What the integration tests stand on.

pub mod binary;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod service;
pub mod stream;
