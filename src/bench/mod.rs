//! Measures the real parts, on this machine, against the simulator or any platform.
//!
//! Owns what it measures with: scratch databases, a simulator in a process of its own, meters.
//! Every bench answers a [`Report`]: a table for people and JSON for scripts, of the same figures.
//!
//! Deliberately absent: judgement. What the figures should be is in `docs/PERFORMANCE.md`; walls
//! depend on who else uses the machine, so no test holds a figure against a limit.

mod child;
mod claim;
mod dispatch;
mod ground;
mod latency;
mod listeners;
mod machine;
mod members;
mod meter;
mod pickup;
mod pipeline;
mod platform;
mod procfs;
mod reads;
mod report;
mod rig;
mod server;
mod sse;
mod sync;
mod transport;
mod wire;

pub use claim::ClaimArgs;
pub use dispatch::DispatchArgs;
pub use pickup::PickupArgs;
pub use pipeline::PipelineArgs;
pub use reads::ReadsArgs;
pub use report::Report;
pub use rig::{limit_requests, overrides};
pub use sse::SseArgs;
pub use sync::SyncArgs;
pub use transport::PlatformArgs;

/// Told what the bench is at, for people who wait.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);
