//! Housekeeping of the store, one chore at a time under one lock, so that
//! several replicas may try.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use super::PortResult;

/// What is kept for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Ended jobs.
    pub jobs: Duration,
    /// Outbox events.
    pub outbox: Duration,
    /// Change rows.
    pub changes: Duration,
    /// Job logs.
    pub job_logs: Duration,
    /// Quarantined elements that were not seen again.
    pub quarantine: Duration,
    /// Idempotency keys.
    pub idempotency_keys: Duration,
    /// Rows of removed teams.
    pub removed_teams: Duration,
    /// Replicas that were not seen.
    pub replicas: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            jobs: Duration::from_secs(14 * DAY),
            outbox: Duration::from_secs(7 * DAY),
            changes: Duration::from_secs(90 * DAY),
            job_logs: Duration::from_secs(90 * DAY),
            quarantine: Duration::from_secs(30 * DAY),
            idempotency_keys: Duration::from_secs(DAY),
            removed_teams: Duration::from_secs(30 * DAY),
            replicas: Duration::from_secs(DAY),
        }
    }
}

/// Does the chores.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Does every chore once, in batches of `batch` rows; `None` when another
    /// replica is at it.
    async fn tidy(&self, retention: &Retention, batch: u32) -> PortResult<Option<Tidied>>;
}

/// What was tidied, as rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tidied {
    /// Partitions made ahead.
    pub partitions_created: u64,
    /// Partitions dropped.
    pub partitions_dropped: u64,
    /// Ended jobs removed.
    pub jobs: u64,
    /// Events removed.
    pub outbox: u64,
    /// Change rows removed.
    pub changes: u64,
    /// Job logs removed.
    pub job_logs: u64,
    /// Quarantined elements removed.
    pub quarantine: u64,
    /// Idempotency keys removed.
    pub idempotency_keys: u64,
    /// Tickets removed.
    pub tickets: u64,
    /// Replica rows removed.
    pub replicas: u64,
    /// Staging rows of runs that are over.
    pub staging: u64,
    /// Rows of removed teams.
    pub team_rows: u64,
}
