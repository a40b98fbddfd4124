//! The engine as a whole: every actor of the tree over the embedded adapters
//! and a scripted platform, on a paused clock.

mod archive;
mod common;
mod day;
mod failures;
mod fairness;
mod faults;
mod leases;
mod pipeline;
mod queue_away;
mod removals;
mod scopes;
mod sustained;
mod universe;
