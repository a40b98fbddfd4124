//! What the engine thinks about: values and pure policies, no I/O and no
//! actor in sight. Every decision that can be written as a function of its
//! inputs lives here, so that it can be property-tested alone.

pub mod backoff;
pub mod baseline;
pub mod cadence;
pub mod canonical;
pub mod catch_up;
pub mod diff;
pub mod event;
pub mod failure;
pub mod fairness;
pub mod freshness;
pub mod ids;
pub mod item;
pub mod job;
pub mod plan;
pub mod removal;
pub mod retry;
pub mod scope;
pub mod snapshot;
pub mod status;
pub mod worth;

pub use baseline::{Baseline, RowFlags, Shortcuts, StoredRow};
pub use event::{Event, EventBody};
pub use failure::{Failure, FailureClass};
pub use ids::{
    EventNo, ExternalId, Fence, HoldId, JobId, PlatformId, ReplicaId, RunId, ScopeKey, TeamId,
};
pub use item::{Columns, EnvironmentElement, Item, RawVersion, SourceVersion};
pub use job::{Class, Counts, JobState};
pub use scope::{DataType, Mode, Scope};
pub use snapshot::{Completeness, PartialReason};

#[cfg(test)]
pub(crate) mod sample;
