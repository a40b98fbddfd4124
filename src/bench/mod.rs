//! Measures the real parts, on this machine, against the simulator or any platform.
//!
//! Owns what it measures with: scratch databases, a simulator in a process of its own, meters.
//! Every bench answers a [`Report`]: a table for people and JSON for scripts, of the same figures.
//!
//! Deliberately absent: judgement. What the figures should be is in `docs/PERFORMANCE.md`; walls
//! depend on who else uses the machine, so no test holds a figure against a limit.

mod codec;
mod ground;
mod machine;
mod meter;
mod pipeline;
mod platform;
mod procfs;
mod report;
mod rig;
mod sync;

pub use codec::CodecArgs;
pub use pipeline::PipelineArgs;
pub use report::Report;
pub use rig::{limit_requests, overrides};
pub use sync::SyncArgs;

/// Told what the bench is at, for people who wait.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);
