//! Production adapters of the engine's ports.

pub mod postgres;
pub mod redis;
pub mod virtuozzo;
