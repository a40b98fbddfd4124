//! Leases: the real lock, and what a run needs to know.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::request::Resting;
use crate::domain::cadence::{DueTimes, Intervals};
use crate::domain::retry::{RetryRules, Sustained};
use crate::domain::{Class, Fence, JobId, Mode, PlatformId, Refused, ReplicaId, RunId, ScopeKey};

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
    /// Attempts after which the job is given up, and failures after which its
    /// scope is paused.
    pub retry: RetryRules,
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
    /// obsolete, without an event. It names the last success in its stead if
    /// that began after the job was made.
    Fresh,
    /// The state must wait; the job stays queued.
    Later {
        /// Until then.
        not_before: OffsetDateTime,
    },
    /// The team is gone, paused, out of the rollout or without a key, and
    /// nobody asked: the job was settled as obsolete, like a fresh one.
    Resting(Resting),
    /// The team rests, but somebody asked: the job stays queued, off the bus,
    /// until the team is back.
    Parked(Resting),
    /// The job had used up its attempts: it was settled as dead, with its
    /// event, and the state backs off.
    Exhausted {
        /// Attempts made.
        attempts: u32,
        /// What this end brought: the warning that the scope is near to being
        /// paused, when there was none before, or the pause.
        sustained: Sustained,
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
    /// Whether it was warned of that the scope is near to being paused.
    pub pause_warned: bool,
    /// When the last full succeeded.
    pub last_full_at: Option<OffsetDateTime>,
    /// Due times as they stand.
    pub due: DueTimes,
    /// Where the last delta stopped reading history.
    pub cursor: Option<Cursor>,
    /// What the key was refused before.
    pub refused: Refused,
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

/// Where a delta goes on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The action history was read gaplessly up to here, by the platform's clock.
    #[serde(with = "time::serde::rfc3339::option")]
    pub history_until: Option<OffsetDateTime>,
    /// How far that clock was ahead of the database's then, in milliseconds.
    /// A clock that was set back since writes into a part of the history that
    /// was read already.
    pub ahead_ms: i64,
}
