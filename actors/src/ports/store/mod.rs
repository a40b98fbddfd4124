//! The store: the only truth. States, jobs, leases, the fenced apply and the
//! outbox rows that belong to it.
//!
//! Times are the database's. An adapter that measures "since the request was
//! sent" subtracts the elapsed monotonic time from the database's now inside
//! the transaction that writes.

mod apply;
mod lease;
mod request;
mod settle;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::PortResult;
use super::due_queue::DueEntry;
use crate::domain::{
    Baseline, DataType, ExternalId, HoldId, JobId, RunId, ScopeKey, SourceVersion, TeamId,
};

pub use crate::domain::cadence::{DueTimes, Intervals};
pub use crate::domain::catch_up::Room;
pub use crate::domain::diff::Change;
pub use crate::domain::plan::UpsertKind;
pub use apply::{Annotation, Applied, Apply, ArchivedSite, Doubt, TableApply, Upsert, Upserts};
pub use lease::{Cursor, Lease, LeaseAnswer, LeaseAsk, LeaseRef};
pub use request::{Idempotency, Requested, RequestedJob, Resting, SyncRequest};
pub use settle::{Ending, Settled, Settlement};

/// How much to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimAsk {
    /// At most so many states.
    pub limit: u32,
    /// Of those that nobody asked for, at most so many.
    pub room: Room,
    /// A state that is not leased so long after its claim may be claimed again.
    pub redispatch: Duration,
}

/// The pipeline's door to the store.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- scheduler ---------------------------------------------------------

    /// Claims up to `ask.limit` runnable states, the most urgent and then the
    /// longest due first: notes `dispatched_at` and ensures a queued job row
    /// for each, in one transaction, skipping rows that another claimer holds.
    /// Of the states that nobody asked for it takes no more than `ask.room`
    /// says, of each lane the longest due; so a backlog is claimed bit by bit.
    ///
    /// Runnable = (an own time has come, or a request stands) and `not_before`
    /// has passed and there is no live lease and it was not dispatched within
    /// `ask.redispatch` and the team is enabled, in rollout, has a key and is not
    /// paused and its platform's circuit is not open. A state whose lease has
    /// run out is runnable; its running job is queued again.
    async fn claim(&self, ask: &ClaimAsk) -> PortResult<Vec<DueEntry>>;

    /// A person or a reader wants a scope sooner. Durable once answered;
    /// coalesced with what is queued; a run in flight is followed by at most
    /// one more. Earlier time and higher class win, full beats delta.
    async fn request(&self, request: &SyncRequest) -> PortResult<Requested>;

    // --- dispatcher --------------------------------------------------------

    /// Notes that these jobs are on the bus, as far as they are still queued.
    /// A job that is queued again is off the bus again.
    async fn mark_published(&self, jobs: &[JobId]) -> PortResult<()>;

    /// Jobs that are on the bus and were not leased yet, of all replicas.
    async fn published_unleased(&self) -> PortResult<u64>;

    // --- a run -------------------------------------------------------------

    /// Leases a (team, scope) for a queued job: the real lock. In one
    /// transaction the fence grows by one, the job goes to running with its
    /// attempt raised, and the mode is chosen; or the job is settled at once
    /// as the answer says.
    async fn lease(&self, ask: &LeaseAsk) -> PortResult<LeaseAnswer>;

    /// Moves `lease_until` to now + ttl; `false` when the lease is not the
    /// run's any more.
    async fn renew(&self, lease: &LeaseRef, ttl: Duration) -> PortResult<bool>;

    /// Gives up the lease of a run, if it still has it: its job is queued
    /// again at once and its attempt stays counted. For runs that ended
    /// without settling, e.g. by a panic. `false` when there was nothing to
    /// give up.
    async fn release(&self, run: RunId) -> PortResult<bool>;

    /// Versions and flags of what the mirror holds of the scope.
    async fn baseline(&self, key: ScopeKey) -> PortResult<Baseline>;

    /// Stored payloads of these rows, for diffs.
    async fn payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, Box<str>)>>;

    /// Versions of these rows, those that exist: for tables that runs only
    /// append to, whose baseline is not loaded.
    async fn known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, SourceVersion)>>;

    /// Archived sites that the archive wants to know more of: those without an
    /// annotation first, then the ones whose last probe is oldest.
    async fn archive_work(&self, team: TeamId, limit: u32) -> PortResult<Vec<ArchivedSite>>;

    /// Puts rows aside for this run's apply, which then says
    /// [`Upserts::Staged`]. May be called from several tasks at once. Rows of
    /// one id staged twice: the last call wins.
    async fn stage(&self, lease: &LeaseRef, rows: Vec<Upsert>) -> PortResult<()>;

    /// Commits a run: one transaction guarded by fence and run id, in which
    /// rows, missing and stale marks, holds, quarantine, archive, state, job,
    /// change rows and the outbox row appear together or not at all.
    ///
    /// [`PortError::OutcomeUnknown`](super::PortError::OutcomeUnknown) means
    /// that the answer to COMMIT was lost: ask [`Store::committed`].
    async fn apply(&self, apply: &Apply) -> PortResult<Applied>;

    /// Whether this run is the one that committed last.
    async fn committed(&self, lease: &LeaseRef) -> PortResult<bool>;

    /// Ends or postpones a leased run without a commit of data, guarded like
    /// an apply.
    async fn settle(&self, settlement: &Settlement) -> PortResult<Settled>;

    // --- people ------------------------------------------------------------

    /// Cancels a queued or running job; the running one stops at its next
    /// renewal. `false` when it had ended.
    async fn cancel(&self, team: TeamId, job: JobId, by: &str) -> PortResult<bool>;

    /// Queues a failed or dead job's scope again; answers the new job.
    async fn replay(&self, job: JobId, by: &str) -> PortResult<JobId>;

    /// Releases or rejects a held removal set. A release takes effect in the
    /// next run of its scope, which is due at once.
    async fn decide_hold(
        &self,
        team: TeamId,
        hold: HoldId,
        release: bool,
        by: &str,
    ) -> PortResult<bool>;

    // --- installation ------------------------------------------------------

    /// The installation's key for raw versions; made and sealed on first use,
    /// the same for all replicas.
    async fn raw_version_key(&self) -> PortResult<SecretString>;
}
