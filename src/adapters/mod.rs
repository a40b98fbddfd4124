//! Production adapters of the engine's ports.

pub mod postgres;
pub mod virtuozzo;
