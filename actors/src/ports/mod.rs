//! The engine's only doors to the world. Each trait states its contract in
//! prose; `conformance` is the same contract as an exam that every adapter
//! sits.
//!
//! Rules that hold for all of them: a call either answers or fails within its
//! own deadline; a failed call may still have happened, so whoever repeats it
//! must be able to; dropping a future abandons the wait, not the effect; no
//! error text holds a secret.

pub mod clock;
pub mod credentials;
pub mod due_queue;
pub mod entropy;
pub mod event_bus;
pub mod job_bus;
pub mod limiter;
pub mod lock;
pub mod outbox;
pub mod platform;
pub mod platforms;
pub mod reads;
pub mod replicas;
pub mod signals;
pub mod store;
pub mod teams;
pub mod upkeep;

mod error;

pub use error::{PortError, PortResult};
