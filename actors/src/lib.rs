//! The engine of vz-sync: domain, ports, actor tree and embedded adapters.
//!
//! Nothing in this crate opens a socket or a file: an actor does I/O only
//! through a port, and the dependency list keeps it so.
//!
//! Data flows down one path: [`scheduler`] -> [`dispatcher`] -> [`intake`] ->
//! [`team_sync`] -> (outbox) -> [`broadcaster`]. [`pulse`] and [`janitor`]
//! keep the replica and the store in order beside it; [`engine`] wires them.

pub mod domain;
pub mod embedded;
pub mod kit;
pub mod ports;
pub mod subscription;
