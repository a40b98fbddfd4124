//! The engine of vz-sync: domain, ports, actor tree and embedded adapters.
//!
//! Nothing in this crate opens a socket or a file: an actor does I/O only
//! through a port, and the dependency list keeps it so.
//!
//! Data flows down one path: [`scheduler`] -> [`dispatcher`] -> [`intake`] ->
//! [`team_sync`] -> (outbox) -> [`broadcaster`]. [`pulse`], [`janitor`]
//! and [`key_prober`] keep replica, store and keys in order beside it; [`engine`] wires them.

pub mod broadcaster;
#[cfg(feature = "testkit")]
pub mod conformance;
pub mod dispatcher;
pub mod domain;
pub mod embedded;
pub mod engine;
pub mod intake;
pub mod janitor;
pub mod key_prober;
pub mod kit;
pub mod membership;
pub mod parts;
pub mod ports;
pub mod pulse;
pub mod scheduler;
pub mod settings;
pub mod subscription;
pub mod team_sync;
#[cfg(feature = "testkit")]
pub mod testkit;
mod wake;
