//! Production adapters of the engine's ports.

pub mod virtuozzo;
