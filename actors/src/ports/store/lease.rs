//! Leases: the real lock, and what a run needs to know.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::request::Resting;
use crate::domain::cadence::{DueTimes, Intervals};
use crate::domain::{Class, Fence, JobId, Mode, PlatformId, ReplicaId, RunId, ScopeKey};

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
    /// The mode that the request named; `None` left it to the run.
    pub asked: Option<Mode>,
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
    /// When the last complete listing of all environments was asked for, be it
    /// a full or the outlines of a delta.
    #[serde(with = "time::serde::rfc3339::option")]
    pub listed_at: Option<OffsetDateTime>,
    /// How long the last complete full listing took, in milliseconds.
    pub full_ms: Option<u64>,
}

impl Cursor {
    /// How long the last complete full listing took.
    pub fn full_took(&self) -> Option<Duration> {
        self.full_ms.map(Duration::from_millis)
    }
}
