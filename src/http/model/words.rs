//! The words that fields may hold, for the document.

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident($($word:ident),+ $(,)?);)*) => {$(
        $(#[$doc])*
        #[derive(Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the words say what they mean")]
        pub enum $name { $($word),+ }
    )*};
}

words! {
    /// What one run synchronises.
    ScopeWord(Environments, ArchivedSites, JobLogs);
    /// One mirrored table.
    DataTypeWord(Environments, Nodes, ArchivedSites, JobLogs);
    /// How much a run asks for.
    ModeWord(Delta, Full);
    /// The life of a job.
    JobStateWord(Queued, Running, Succeeded, Failed, Dead, Cancelled, Superseded, Obsolete);
    /// Why a run is wanted.
    ClassWord(Backfill, Schedule, Retry, Demand, Manual);
    /// The two words of the freshness contract.
    AgeWord(Current, Stale);
    /// Why an answer is stale.
    ReasonWord(
        OutOfRollout, NoCredentials, Auth, Paused, CapabilityMissing, RemovalsHeld, Running, CircuitOpen, Throttled,
        Failing, Queued, NeverSynced, Due,
    );
    /// Where a run is.
    PhaseWord(Lock, Fetch, Confirm, Apply);
}
