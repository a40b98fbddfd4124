//! The engine as a whole: every actor of the tree over the embedded adapters
//! and a scripted platform, on a paused clock.

mod common;
mod day;
mod failures;
mod fairness;
mod faults;
mod herd;
mod leases;
mod limits;
mod pipeline;
mod removals;
mod scopes;
mod sustained;
mod universe;
