//! The durable events of each team, in commit order without gaps.

use std::time::Duration;

use async_trait::async_trait;

use super::PortResult;
use crate::domain::{Event, EventNo, ReplicaId, TeamId};

/// Reads and relays the outbox. Only the store's `apply` and `settle` write it.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Events after each team's cursor, ordered by team and number, at most
    /// `limit` in all.
    async fn after(&self, cursors: &[(TeamId, EventNo)], limit: usize) -> PortResult<Vec<Event>>;

    /// The first number still kept and the last one given; `None` for a team
    /// without events.
    async fn bounds(&self, team: TeamId) -> PortResult<Option<OutboxBounds>>;

    /// Those of these teams that are not mirrored, or not any more: nothing
    /// will be told of them.
    async fn gone(&self, teams: &[TeamId]) -> PortResult<Vec<TeamId>>;

    /// Takes or keeps the relay lease, and answers the oldest events that were
    /// not relayed; `None` while another replica holds the lease.
    async fn unrelayed(
        &self,
        me: ReplicaId,
        lease: Duration,
        limit: usize,
    ) -> PortResult<Option<Vec<Event>>>;

    /// Notes that these were relayed.
    async fn relayed(&self, events: &[(TeamId, EventNo)]) -> PortResult<()>;
}

/// Which numbers a team's outbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxBounds {
    /// The oldest that is still kept. Greater than `last` when all were trimmed.
    pub first: EventNo,
    /// The newest that was given.
    pub last: EventNo,
}
