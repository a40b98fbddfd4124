//! The service from end to end: platform, engine, database and API together.

mod binary;
mod events;
mod faults;
mod holds;
mod mirror;
mod readers;
mod removals;
mod secrets;
mod trouble;
