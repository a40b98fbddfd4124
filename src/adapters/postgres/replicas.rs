//! The replicas port: signs of life, and taking over from who gives none.
//! All ages are judged by the database's clock alone.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use vz_sync_actors::domain::{ReplicaId, RunId, ScopeKey, TeamId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::replicas::{Fleet, Freed, ReplicaInfo, ReplicaView, Replicas};

use super::call::{execute, get, refused, row, rows, word};

const HEARTBEAT: &str = include_str!("sql/heartbeat.sql");
const FREE_LEASES: &str = include_str!("sql/free_leases.sql");
const LIST: &str = include_str!("sql/replicas.sql");
const LEAVE: &str = "DELETE FROM replicas WHERE boot_id = $1";

/// The replicas' rows in Postgres.
#[derive(Debug, Clone)]
pub struct PgReplicas {
    pool: Pool,
}

impl PgReplicas {
    /// Keeps them through `pool`.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Who is alive, and whether this replica was not among them before.
    async fn beat(&self, me: &ReplicaInfo, dead_after: Duration) -> PortResult<(Fleet, bool)> {
        let permits = i32::try_from(me.permits).unwrap_or(i32::MAX);
        let found = row(
            &self.pool,
            HEARTBEAT,
            &[&me.id.0, &me.host, &me.version, &permits, &dead_after.as_secs_f64()],
        )
        .await?
        .ok_or_else(|| refused("the heartbeat answered nothing"))?;
        let fleet = Fleet {
            replicas: count(get(&found, "replicas")?),
            permits: count(get(&found, "permits")?),
        };
        Ok((fleet, get(&found, "joined")?))
    }
}

#[async_trait]
impl Replicas for PgReplicas {
    async fn heartbeat(&self, me: &ReplicaInfo, dead_after: Duration) -> PortResult<Fleet> {
        let (fleet, joined) = self.beat(me, dead_after).await?;
        // Two that join at once do not see each other's uncommitted rows. A
        // look after the commit does: at least the later one of them.
        if joined { Ok(self.beat(me, dead_after).await?.0) } else { Ok(fleet) }
    }

    async fn reap(&self, dead_after: Duration) -> PortResult<Vec<Freed>> {
        rows(&self.pool, FREE_LEASES, &[&dead_after.as_secs_f64()])
            .await?
            .iter()
            .map(|row| {
                Ok(Freed {
                    key: ScopeKey::new(TeamId(get(row, "team_id")?), word(row, "scope")?),
                    run: RunId(get(row, "lease_run")?),
                })
            })
            .collect()
    }

    async fn leave(&self, me: ReplicaId) -> PortResult<()> {
        execute(&self.pool, LEAVE, &[&me.0]).await?;
        Ok(())
    }

    async fn list(&self, dead_after: Duration) -> PortResult<Vec<ReplicaView>> {
        rows(&self.pool, LIST, &[&dead_after.as_secs_f64()])
            .await?
            .iter()
            .map(|row| {
                Ok(ReplicaView {
                    id: ReplicaId(get(row, "boot_id")?),
                    host: get(row, "host")?,
                    started_at: get(row, "started_at")?,
                    heartbeat_at: get(row, "heartbeat_at")?,
                    alive: get(row, "alive")?,
                    permits: get::<i32>(row, "permits")?.unsigned_abs(),
                    running: count(get(row, "running")?),
                    version: get(row, "version")?,
                })
            })
            .collect()
    }
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
