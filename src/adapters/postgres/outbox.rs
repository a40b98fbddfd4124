//! The outbox port: reading and relaying what the store's apply and settle
//! wrote. The relay lease is one row with an expiry by the database's clock:
//! a replica that dies takes nothing with it, and one that is merely slow may
//! relay an event twice, which subscribers tell by its number.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use serde_json::{Value, json};
use tokio_postgres::Row;
use vz_sync_actors::domain::{Event, EventNo, ReplicaId, TeamId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::outbox::{Outbox, OutboxBounds};

use super::call::{execute, get, refused, row, rows};

const AFTER: &str = include_str!("sql/outbox_after.sql");
const BOUNDS: &str = include_str!("sql/outbox_bounds.sql");
const GONE: &str = include_str!("sql/outbox_gone.sql");
const UNRELAYED: &str = include_str!("sql/outbox_unrelayed.sql");
const RELAYED: &str = include_str!("sql/outbox_relayed.sql");

/// The outbox in Postgres.
#[derive(Debug, Clone)]
pub struct PgOutbox {
    pool: Pool,
}

impl PgOutbox {
    /// Reads through `pool`.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Outbox for PgOutbox {
    async fn after(&self, cursors: &[(TeamId, EventNo)], limit: usize) -> PortResult<Vec<Event>> {
        if cursors.is_empty() {
            return Ok(Vec::new());
        }
        let (teams, numbers) = columns(cursors);
        rows(&self.pool, AFTER, &[&teams, &numbers, &(limit as i64)])
            .await?
            .iter()
            .map(event)
            .collect()
    }

    async fn bounds(&self, team: TeamId) -> PortResult<Option<OutboxBounds>> {
        row(&self.pool, BOUNDS, &[&team.0])
            .await?
            .map(|row| {
                Ok(OutboxBounds {
                    first: EventNo(get(&row, "first")?),
                    last: EventNo(get(&row, "last")?),
                })
            })
            .transpose()
    }

    async fn gone(&self, teams: &[TeamId]) -> PortResult<Vec<TeamId>> {
        if teams.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = teams.iter().map(|team| team.0).collect();
        let found = rows(&self.pool, GONE, &[&ids]).await?;
        found.iter().map(|row| get(row, "team_id").map(TeamId)).collect()
    }

    async fn unrelayed(
        &self,
        me: ReplicaId,
        lease: Duration,
        limit: usize,
    ) -> PortResult<Option<Vec<Event>>> {
        let found =
            rows(&self.pool, UNRELAYED, &[&me.0, &lease.as_secs_f64(), &(limit as i64)]).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let mut events = Vec::with_capacity(found.len());
        for row in &found {
            if get::<Option<i64>>(row, "team_id")?.is_some() {
                events.push(event(row)?);
            }
        }
        Ok(Some(events))
    }

    async fn relayed(&self, events: &[(TeamId, EventNo)]) -> PortResult<()> {
        if events.is_empty() {
            return Ok(());
        }
        let (teams, numbers) = columns(events);
        execute(&self.pool, RELAYED, &[&teams, &numbers]).await?;
        Ok(())
    }
}

fn columns(pairs: &[(TeamId, EventNo)]) -> (Vec<i64>, Vec<i64>) {
    pairs.iter().map(|(team, no)| (team.0, no.0)).unzip()
}

/// The row keeps the body alone; team, number and time have columns.
fn event(row: &Row) -> PortResult<Event> {
    let (team, no): (i64, i64) = (get(row, "team_id")?, get(row, "event_no")?);
    let (kind, data): (&str, Value) = (get(row, "event_type")?, get(row, "payload")?);
    let body = serde_json::from_value(json!({ "type": kind, "data": data }))
        .map_err(|error| refused(format!("event {no} of team {team} cannot be read: {error}")))?;
    Ok(Event { team_id: TeamId(team), no: Some(EventNo(no)), at: get(row, "created_at")?, body })
}
