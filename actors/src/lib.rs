//! The engine of vz-sync: domain, ports, actor tree and embedded adapters.
//!
//! Nothing in this crate opens a socket or a file: an actor does I/O only
//! through a port, and the dependency list keeps it so.

#[cfg(feature = "testkit")]
pub mod conformance;
pub mod domain;
pub mod embedded;
pub mod kit;
pub mod ports;
#[cfg(feature = "testkit")]
pub mod testkit;
