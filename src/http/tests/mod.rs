//! The API over a real engine with its embedded adapters and a small platform.

mod admin;
mod contract;
mod events;
mod matrix;
mod metrics;
mod reads;
mod server;
mod sync;
mod world;
