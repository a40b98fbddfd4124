//! The store: the only truth. States, jobs, leases, the fenced apply and the
//! outbox rows that belong to it.
//!
//! Times are the database's. An adapter that measures "since the request was
//! sent" subtracts the elapsed monotonic time from the database's now inside
//! the transaction that writes.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::PortResult;
use super::due_queue::DueEntry;
pub use crate::domain::cadence::{DueTimes, Intervals};
pub use crate::domain::diff::Change;
use crate::domain::event::ChangedId;
use crate::domain::item::{Item, Malformed};
pub use crate::domain::plan::UpsertKind;
use crate::domain::removal::{HoldChange, MissingReason, StaleReason};
use crate::domain::retry::Sustained;
use crate::domain::{
    Baseline, Class, Completeness, Counts, DataType, EventNo, ExternalId, Failure, Fence, HoldId,
    JobId, JobState, Mode, PlatformId, RawVersion, ReplicaId, RunId, Scope, ScopeKey,
    SourceVersion, TeamId,
};

/// The pipeline's door to the store.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- scheduler ---------------------------------------------------------

    /// Claims up to `limit` runnable states, the most urgent and then the
    /// longest due first: notes `dispatched_at` and ensures a queued job row
    /// for each, in one transaction, skipping rows that another claimer holds.
    ///
    /// Runnable = (an own time has come, or a request stands) and `not_before`
    /// has passed and there is no live lease and it was not dispatched within
    /// `redispatch` and the team is enabled, in rollout, has a key and is not
    /// paused and its platform's circuit is not open. A state whose lease has
    /// run out is runnable; its running job is queued again.
    async fn claim(&self, limit: u32, redispatch: Duration) -> PortResult<Vec<DueEntry>>;

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

/// A wish for a sooner run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// Whose.
    pub team: TeamId,
    /// Which scopes; each gets its answer.
    pub scopes: Vec<Scope>,
    /// Manual or demand. A demand is taken at most once per
    /// `demand_interval`, and not at all while the scope rests.
    pub class: Class,
    /// How much; `None` lets the run choose.
    pub mode: Option<Mode>,
    /// Environments to refetch first, by envName.
    pub environments: Vec<String>,
    /// Who asks: a subject, or `reader`.
    pub requested_by: String,
    /// W3C `traceparent`.
    pub trace_parent: Option<String>,
    /// Least time between two demand runs of one scope.
    pub demand_interval: Duration,
    /// Makes a repeated call answer as the first one did.
    pub idempotency: Option<Idempotency>,
    /// Manual triggers that one team may make per minute; `None` is no limit.
    pub per_minute: Option<u32>,
}

/// An `Idempotency-Key` with the hash of the body it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// sha256 of the canonical request.
    pub body_hash: [u8; 32],
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// Taken, scope by scope.
    Accepted(Vec<RequestedJob>),
    /// The key was used before with another body.
    IdempotencyConflict,
    /// Too many triggers.
    TooMany {
        /// When the next one is taken.
        retry_in: Duration,
    },
    /// The team cannot be asked for; nothing was noted.
    Resting(Resting),
    /// There is no such team.
    UnknownTeam,
}

/// Why a team rests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resting {
    /// The pipeline is switched off, or the rollout leaves the team out.
    OutOfRollout,
    /// An operator or the sustained-failure rule paused it.
    Paused(String),
    /// No key is stored.
    NoCredentials,
    /// The key was refused.
    Auth(String),
    /// Nothing more is needed: a demand run was asked for a moment ago.
    RecentlyAsked,
    /// The platform's circuit is open; demand only.
    CircuitOpen,
}

/// The job that will satisfy a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedJob {
    /// The scope.
    pub scope: Scope,
    /// The queued job.
    pub job_id: JobId,
    /// Queued jobs that go before it, as far as can be told.
    pub position: u64,
    /// Whether it was queued already.
    pub coalesced: bool,
}

/// Asks for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseAsk {
    /// What to lease.
    pub key: ScopeKey,
    /// The queued job that wants it.
    pub job: JobId,
    /// Who asks.
    pub replica: ReplicaId,
    /// The attempt's own id.
    pub run: RunId,
    /// How long the lease lasts unless renewed.
    pub ttl: Duration,
    /// A heartbeat older than this marks its owner dead and its lease free.
    pub dead_after: Duration,
    /// How long a job waits that met a live lease.
    pub collision_delay: Duration,
    /// Attempts after which the job is given up.
    pub max_attempts: u32,
}

/// The answer to [`Store::lease`].
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseAnswer {
    /// Run.
    Granted(Box<Lease>),
    /// A live lease exists; the state waits `collision_delay`.
    Busy {
        /// The run that holds it.
        holder: RunId,
    },
    /// The job is no longer queued: the delivery was a repeat.
    NotQueued,
    /// Nothing is due and nothing was asked for: the job was settled as
    /// obsolete, without an event.
    Fresh,
    /// The state must wait; the job stays queued.
    Later {
        /// Until then.
        not_before: OffsetDateTime,
    },
    /// The team is gone, paused, out of the rollout or without a key: the job
    /// was settled as obsolete.
    Resting(Resting),
    /// The job had used up its attempts: it was settled as dead, with its
    /// event, and the state backs off.
    Exhausted {
        /// Attempts made.
        attempts: u32,
    },
}

/// Names a lease in guarded writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRef {
    /// What is leased.
    pub key: ScopeKey,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub run: RunId,
    /// The fence it got.
    pub fence: Fence,
}

/// A granted lease with what the run needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// Its name in guarded writes.
    pub name: LeaseRef,
    /// How much to ask for; chosen when the lease was taken.
    pub mode: Mode,
    /// Why the run is wanted.
    pub class: Class,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the request that stands was made, if one does.
    pub requested_at: Option<OffsetDateTime>,
    /// Environments to refetch first.
    pub environments: Vec<String>,
    /// Failures in a row before this run.
    pub failures: u32,
    /// When they began.
    pub failing_since: Option<OffsetDateTime>,
    /// When the last full succeeded.
    pub last_full_at: Option<OffsetDateTime>,
    /// Due times as they stand.
    pub due: DueTimes,
    /// Where the last delta stopped reading history.
    pub cursor: Option<Cursor>,
    /// The team's intervals.
    pub intervals: Intervals,
    /// The platform to ask.
    pub platform: PlatformId,
    /// Whose environments are meant.
    pub owner_uid: Option<i64>,
    /// Rows of the last complete listing, for progress.
    pub expected: Option<u64>,
    /// When the scheduler dispatched it; the difference to `database_now` is
    /// the measured queue wait.
    pub dispatched_at: Option<OffsetDateTime>,
    /// Database time when the lease was granted.
    pub database_now: OffsetDateTime,
    /// Our monotonic time when it was asked for; trust counts from here.
    pub asked_at: Instant,
    /// W3C `traceparent` of what asked.
    pub trace_parent: Option<String>,
}

/// Where a delta goes on reading, and what the token may not do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The action history was read gaplessly up to here, by the platform's clock.
    #[serde(with = "time::serde::rfc3339::option")]
    pub history_until: Option<OffsetDateTime>,
    /// Tracking was refused to the token (8202): deltas go without it.
    pub tracking_refused: bool,
}

/// One row to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert {
    /// The row.
    pub item: Item,
    /// What it does to the table.
    pub kind: UpsertKind,
    /// The change row that goes with it; a first load writes none.
    pub change: Option<Change>,
}

/// Where an apply's rows are.
#[derive(Debug, Clone, PartialEq)]
pub enum Upserts {
    /// Here.
    Inline(Vec<Upsert>),
    /// In the run's staging rows.
    Staged,
}

/// What a run found in one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableApply {
    /// The table.
    pub data_type: DataType,
    /// Moves the table's `verified_at` to the time the request was sent.
    pub verified: bool,
    /// Rows to write. An upsert clears every flag of its row.
    pub upserts: Upserts,
    /// Rows to mark missing, with `needs_validation`.
    pub missing: Vec<(ExternalId, MissingReason)>,
    /// Rows to mark stale. Environments are archived with it, and their nodes
    /// must be listed in the nodes' own apply.
    pub stale: Vec<(ExternalId, StaleReason)>,
    /// Rows whose last received form failed its schema: they stay served and
    /// are marked `needs_validation`.
    pub quarantined: Vec<Malformed>,
    /// What to add to the counts kept for the table.
    pub counts: Counts,
}

/// A site of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedSite {
    /// appid
    pub id: ExternalId,
    /// envName, to ask the platform with.
    pub env_name: String,
    /// When the mirror confirmed it gone.
    pub archived_at: OffsetDateTime,
    /// Whether the action history told who deleted it.
    pub annotated: bool,
    /// When the platform was last asked whether it lives.
    pub probed_at: Option<OffsetDateTime>,
}

/// What the archive learnt of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// appid
    pub id: ExternalId,
    /// Who deleted it, by the action history.
    pub deleted_by: Option<String>,
    /// When, by the action history.
    pub deleted_at: Option<OffsetDateTime>,
    /// It was asked for again and is (`true`) or is not there.
    pub probed: Option<bool>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Apply {
    /// The guard: another fence or run and nothing is written.
    pub lease: LeaseRef,
    /// Full or delta; kept as `verified_by`.
    pub mode: Mode,
    /// When the listing's request was sent: `synced_at`, `verified_at`, and
    /// the bound for clearing the request.
    pub sent_at: Instant,
    /// Whether the listing was complete; told in the event.
    pub completeness: Completeness,
    /// Set for a partial listing: its rows are written and its job succeeds,
    /// but the request stands, a failure is counted and the state waits.
    pub doubt: Option<Doubt>,
    /// The tables of the scope.
    pub tables: Vec<TableApply>,
    /// Holds to make or move.
    pub holds: Vec<HoldChange>,
    /// What the archive learnt.
    pub annotations: Vec<Annotation>,
    /// Hash of the body, kept for the byte-equal shortcut.
    pub body: Option<RawVersion>,
    /// When the state is due next.
    pub due: DueTimes,
    /// Where the next delta goes on.
    pub cursor: Option<Cursor>,
    /// What `sync.completed` names, capped by the caller.
    pub changed: Vec<ChangedId>,
    /// Whether more changed.
    pub truncated: bool,
    /// Sum over the tables.
    pub counts: Counts,
    /// Also make this scope due at once, e.g. environments when an archived
    /// site turns out to live.
    pub wake: Option<Scope>,
}

/// Why a commit does not settle the matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What was wrong with the listing.
    pub failure: Failure,
    /// How long the state waits before the next run.
    pub wait: Duration,
}

/// The answer to [`Store::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Committed.
    Committed {
        /// The number of `sync.completed`.
        event: EventNo,
        /// Holds that were made, with the number of their event.
        held: Vec<HoldId>,
        /// Whether a request still stands or the state is due again already.
        runnable_again: bool,
    },
    /// The lease is another run's, or over: nothing was written.
    Overtaken,
}

/// Ends or postpones a run without data.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The guard.
    pub lease: LeaseRef,
    /// What becomes of the job and the state.
    pub ending: Ending,
    /// Whether the scope has failed for so long that a pause is announced or
    /// begins with this ending.
    pub sustained: Sustained,
}

/// How a run without a commit goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The job is queued again; the state waits. Counts as a failure of the
    /// team.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// How long the state waits.
        wait: Duration,
    },
    /// The job is queued again with the attempt given back; not a failure.
    Postponed {
        /// A stable code: `rate_limit`, `throttled`, `circuit_open`.
        reason: &'static str,
        /// How long the state waits.
        wait: Duration,
    },
    /// The job ends as failed or dead with one event; the state stays
    /// scheduled and waits.
    GaveUp {
        /// What went wrong.
        failure: Failure,
        /// failed, or dead for faults of ours.
        state: JobState,
        /// How long the state waits.
        wait: Duration,
    },
    /// The key is refused: the job fails; the whole team rests, and one event
    /// tells of the transition.
    AuthRefused {
        /// What the platform said.
        failure: Failure,
        /// Time to the next probe of the key.
        probe_in: Duration,
    },
    /// An operator stopped it: one event.
    Cancelled {
        /// Who.
        by: String,
    },
    /// This replica is stopping: the job is queued again at once with the
    /// attempt given back.
    HandedBack,
}

/// The answer to [`Store::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done.
    Done {
        /// The number of the event, if the end owed one.
        event: Option<EventNo>,
    },
    /// The lease is another run's, or over: nothing was written.
    Overtaken,
}

/// Builds a run id from its UUID.
impl From<Uuid> for RunId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}
