//! Production adapters of the engine's ports.

pub mod postgres;
pub mod rabbitmq;
pub mod redis;
pub mod virtuozzo;
