//! Who is alive, and taking over from who is not.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;

use super::PortResult;
use crate::domain::{ReplicaId, RunId, ScopeKey};

/// The replicas of one installation.
#[async_trait]
pub trait Replicas: Send + Sync + 'static {
    /// Writes or refreshes this replica's row, and tells who else is alive. Of
    /// replicas that join at once at most one finds itself alone.
    async fn heartbeat(&self, me: &ReplicaInfo, dead_after: Duration) -> PortResult<Fleet>;

    /// Frees every lease whose owner's heartbeat is older than `dead_after`
    /// or whose own time has passed: running jobs are queued again, attempts
    /// kept. Answers whose were freed; each is runnable at once.
    async fn reap(&self, dead_after: Duration) -> PortResult<Vec<Freed>>;

    /// Removes this replica's row; its leases must be released before.
    async fn leave(&self, me: ReplicaId) -> PortResult<()>;

    /// Every known replica, for operators.
    async fn list(&self, dead_after: Duration) -> PortResult<Vec<ReplicaView>>;
}

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// This boot.
    pub id: ReplicaId,
    /// Host name, for people.
    pub host: String,
    /// Runs it can carry at once.
    pub permits: u32,
    /// Version of the binary.
    pub version: String,
}

/// The living.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Live replicas, this one included.
    pub replicas: u32,
    /// Their permits together.
    pub permits: u32,
}

/// A lease that was taken from a dead owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// What was leased.
    pub key: ScopeKey,
    /// The run that held it.
    pub run: RunId,
}

/// A replica as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaView {
    /// The boot.
    pub id: ReplicaId,
    /// Host name.
    pub host: String,
    /// When it started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// Its last sign of life.
    #[serde(with = "time::serde::rfc3339")]
    pub heartbeat_at: OffsetDateTime,
    /// Whether that is recent enough.
    pub alive: bool,
    /// Runs it can carry at once.
    pub permits: u32,
    /// Runs it holds leases of.
    pub running: u32,
    /// Version of the binary.
    pub version: String,
}
