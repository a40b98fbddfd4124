//! The due queue: which scopes may run now, most urgent first.
//!
//! It holds only what may run now; anything that waits, waits in the store. It
//! may lose everything at any time (the store's re-dispatch repairs that) and
//! never promises that an entry is taken once. Members are (team, scope): a
//! second entry only moves the first one forward.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::PortResult;
use crate::domain::job::Lane;
use crate::domain::{Class, JobId, ScopeKey};

/// Width of one class in the score: 10^13 ms is the year 2286, so ranks never
/// overlap.
pub const RANK_SPAN: i64 = 10_000_000_000_000;

/// One scope that may run now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueEntry {
    /// What to run.
    pub key: ScopeKey,
    /// The queued job row that the run will lease.
    pub job: JobId,
    /// How urgent it is.
    pub class: Class,
    /// When it became due; inside a class the earliest goes first.
    #[serde(with = "time::serde::rfc3339")]
    pub deadline: OffsetDateTime,
    /// W3C `traceparent` of what made it due.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace_parent: Option<String>,
}

impl DueEntry {
    /// `class rank x 10^13 + deadline in ms`: lower goes first.
    pub fn score(&self) -> i64 {
        let millis = (self.deadline.unix_timestamp_nanos() / 1_000_000) as i64;
        i64::from(self.class.rank()) * RANK_SPAN + millis.clamp(0, RANK_SPAN - 1)
    }
}

/// The queue between scheduler and dispatcher.
#[async_trait]
pub trait DueQueue: Send + Sync + 'static {
    /// Adds entries in one step. An entry that is already queued keeps the
    /// better (lower) score, and the payload that came with it.
    async fn enqueue(&self, entries: &[DueEntry]) -> PortResult<()>;

    /// Moves up to `limit` entries of a lane to the in-flight set with a
    /// deadline `lease` from now, best score first, after putting back every
    /// entry whose deadline has passed. Unreadable entries are set aside and
    /// counted, never returned and never looped.
    async fn pop(&self, lane: Lane, limit: usize, lease: Duration) -> PortResult<Vec<DueEntry>>;

    /// Forgets an in-flight entry: it was handed on. Confirming what is no
    /// longer in flight is not an error.
    async fn confirm(&self, keys: &[ScopeKey]) -> PortResult<()>;

    /// Puts in-flight entries back at once: handing on failed.
    async fn put_back(&self, keys: &[ScopeKey]) -> PortResult<()>;

    /// How many wait, by lane, and how many are in flight.
    async fn depths(&self) -> PortResult<QueueDepths>;

    /// How many entries stand before this one; `None` when it is not queued.
    async fn position(&self, key: ScopeKey) -> PortResult<Option<u64>>;
}

/// Lengths of the due queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct QueueDepths {
    /// Waiting, high lane.
    pub high: u64,
    /// Waiting, normal lane.
    pub normal: u64,
    /// Waiting, low lane.
    pub low: u64,
    /// Popped and not yet confirmed.
    pub in_flight: u64,
    /// Set aside as unreadable.
    pub bad: u64,
    /// Of the waiting, those that only this process knows of, because the
    /// queue's server was away when they became due.
    pub standby: u64,
    /// The queue's server does not answer: the rest counts only what this
    /// process knows of.
    pub away: bool,
}

impl QueueDepths {
    /// Waiting entries of one lane.
    pub const fn lane(&self, lane: Lane) -> u64 {
        match lane {
            Lane::High => self.high,
            Lane::Normal => self.normal,
            Lane::Low => self.low,
        }
    }
}
