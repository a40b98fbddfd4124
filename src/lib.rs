//! The edges of vz-sync: production adapters, HTTP, configuration, telemetry,
//! command line and the platform simulator.

pub mod adapters;
pub mod bench;
pub mod boot;
pub mod cli;
pub mod config;
pub mod http;
pub mod secrets;
pub mod simulator;
pub mod telemetry;
