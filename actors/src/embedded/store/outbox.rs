//! Readers of the outbox: every replica's tail, and the one relay.

use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::domain::{Event, EventNo, ReplicaId, TeamId};
use crate::ports::PortResult;
use crate::ports::outbox::{Outbox, OutboxBounds};

#[async_trait]
impl Outbox for MemoryStore {
    async fn after(&self, cursors: &[(TeamId, EventNo)], limit: usize) -> PortResult<Vec<Event>> {
        let tables = self.tables();
        let mut cursors = cursors.to_vec();
        cursors.sort_unstable();
        Ok(cursors
            .into_iter()
            .filter_map(|(team, no)| Some((tables.outbox.get(&team)?, no)))
            .flat_map(|(outbox, no)| outbox.events.range(no.0 + 1..))
            .take(limit)
            .map(|(_, event)| event.clone())
            .collect())
    }

    async fn bounds(&self, team: TeamId) -> PortResult<Option<OutboxBounds>> {
        let tables = self.tables();
        Ok(tables.outbox.get(&team).filter(|outbox| outbox.last > 0).map(|outbox| OutboxBounds {
            first: EventNo(outbox.events.keys().next().copied().unwrap_or(outbox.last + 1)),
            last: EventNo(outbox.last),
        }))
    }

    async fn gone(&self, teams: &[TeamId]) -> PortResult<Vec<TeamId>> {
        let tables = self.tables();
        Ok(teams.iter().copied().filter(|team| tables.team(*team).is_none()).collect())
    }

    async fn unrelayed(
        &self,
        me: ReplicaId,
        lease: Duration,
        limit: usize,
    ) -> PortResult<Option<Vec<Event>>> {
        let (mut tables, now) = (self.tables(), self.now());
        if tables.relay.is_some_and(|(owner, until)| owner != me && until > now) {
            return Ok(None);
        }
        tables.relay = Some((me, now + lease));
        let event = |(_, team, no): &(_, TeamId, i64)| {
            tables.outbox.get(team).and_then(|outbox| outbox.events.get(no)).cloned()
        };
        Ok(Some(tables.unrelayed.iter().filter_map(event).take(limit).collect()))
    }

    async fn relayed(&self, events: &[(TeamId, EventNo)]) -> PortResult<()> {
        let mut tables = self.tables();
        for (team, no) in events {
            let outbox = tables.outbox.get(team);
            if let Some(at) = outbox.and_then(|outbox| outbox.events.get(&no.0)).map(|e| e.at) {
                tables.unrelayed.remove(&(at, *team, no.0));
            }
        }
        Ok(())
    }
}
