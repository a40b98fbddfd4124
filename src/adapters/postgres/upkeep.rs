//! The upkeep port: chores, one replica at a time.
//!
//! The lock belongs to a session that is closed at the end, whatever the end:
//! a chore that fails or is dropped half-way cannot leave it behind. Each batch
//! is a transaction of its own, so nobody waits long for a row.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio_postgres::error::SqlState;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::upkeep::{Retention, Tidied, Upkeep};

use super::call::{Params, connection, get};
use super::error::judged;

/// Any number that nothing else in the database locks.
const LOCK_KEY: i64 = 0x765a_4a61_6e69_746f;
/// A chore that needs a table for itself gives up after this and is done next time.
const TABLE_WAIT: &str = "SET lock_timeout = '3s'; SET statement_timeout = '5min'";
const PURGE_JOB_LOGS: &str = include_str!("sql/purge_job_logs.sql");

/// Tables of a removed team without a foreign key that would take them along.
const TEAM_TABLES: [&str; 8] = [
    "environments",
    "nodes",
    "archived_sites",
    "job_logs",
    "resource_changes",
    "sync_outbox",
    "sync_staging",
    "vz_sync_jobs",
];

/// Tidies Postgres.
#[derive(Debug, Clone)]
pub struct PgUpkeep {
    pool: Pool,
}

impl PgUpkeep {
    /// Takes its session from `pool`, which makes a new one in its place.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Upkeep for PgUpkeep {
    async fn tidy(&self, retention: &Retention, batch: u32) -> PortResult<Option<Tidied>> {
        let session = Session(Object::take(connection(&self.pool).await?), i64::from(batch.max(1)));
        let lock = "SELECT pg_try_advisory_lock($1) AS mine";
        let row = session.0.query_one(lock, &[&LOCK_KEY]).await;
        if !get::<bool>(&row.map_err(|error| judged(&error))?, "mine")? {
            return Ok(None);
        }
        session.0.batch_execute(TABLE_WAIT).await.map_err(|error| judged(&error))?;
        let tidied = session.tidy(retention).await;
        // The end of a session takes the server a moment: the next tidy need not meet it.
        let unlock = "SELECT pg_advisory_unlock($1)";
        session.0.execute(unlock, &[&LOCK_KEY]).await.map_err(|error| judged(&error))?;
        tidied.map(Some)
    }
}

/// The session that holds the lock, and the rows of a batch.
struct Session(ClientWrapper, i64);

impl Session {
    async fn tidy(&self, keep: &Retention) -> PortResult<Tidied> {
        Ok(Tidied {
            partitions_created: self
                .partitions("SELECT count(*) AS n FROM vz_ensure_change_partitions()", &[])
                .await?,
            partitions_dropped: self
                .partitions(
                    "SELECT count(*) AS n FROM vz_drop_change_partitions(now() - $1::float8 * interval '1 second')",
                    &[&keep.changes.as_secs_f64()],
                )
                .await?,
            jobs: self.old("vz_sync_jobs", "finished_at", keep.jobs).await?,
            // Oldest first, so that what is left of a team has no gaps, whenever this is interrupted.
            outbox: self.old("sync_outbox", "created_at", keep.outbox).await?,
            changes: self.changes(keep.changes).await?,
            job_logs: self.job_logs(keep.job_logs).await?,
            quarantine: self.old("vz_sync_quarantine", "last_seen_at", keep.quarantine).await?,
            idempotency_keys: self
                .old("idempotency_keys", "created_at", keep.idempotency_keys)
                .await?,
            tickets: self.old("sse_tickets", "expires_at", Duration::ZERO).await?,
            replicas: self.old("replicas", "heartbeat_at", keep.replicas).await?,
            staging: self.batches(
                "sync_staging",
                "SELECT g.ctid FROM sync_staging g
                 WHERE NOT EXISTS (SELECT FROM vz_sync_states s WHERE s.lease_run = g.lease_run)",
                None,
            )
            .await?,
            team_rows: self.removed_teams(keep.removed_teams).await?,
        })
    }

    /// Makes or drops partitions; a table that is in use is left for the next time.
    async fn partitions(&self, sql: &str, params: &Params<'_>) -> PortResult<u64> {
        match self.0.query_one(sql, params).await {
            Ok(row) => Ok(get::<i64>(&row, "n")?.unsigned_abs()),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(0),
            Err(error) => Err(judged(&error)),
        }
    }

    /// Rows whose time is over.
    async fn old(&self, table: &str, column: &str, kept: Duration) -> PortResult<u64> {
        let chosen = format!(
            "SELECT g.ctid FROM {table} g
             WHERE g.{column} <= now() - $2::float8 * interval '1 second' ORDER BY g.{column}"
        );
        self.batches(table, &chosen, Some(kept)).await
    }

    /// Change rows of months that are not over yet, or that have no partition.
    async fn changes(&self, kept: Duration) -> PortResult<u64> {
        let parts = self
            .0
            .query(
                "SELECT c.oid::regclass::text AS part FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'resource_changes'::regclass
                   AND (c.relname = 'resource_changes_default'
                     OR c.relname <= 'resource_changes_' || to_char((now() - $1::float8 * interval '1 second') AT TIME ZONE 'UTC', 'YYYY_MM'))",
                &[&kept.as_secs_f64()],
            )
            .await
            .map_err(|error| judged(&error))?;
        let mut gone = 0;
        for part in &parts {
            gone += self.old(get(part, "part")?, "found_at", kept).await?;
        }
        Ok(gone)
    }

    async fn job_logs(&self, kept: Duration) -> PortResult<u64> {
        let mut gone = 0;
        loop {
            let row = self.0.query_one(PURGE_JOB_LOGS, &[&kept.as_secs_f64(), &self.1]).await;
            let batch: i64 = get(&row.map_err(|error| judged(&error))?, "gone")?;
            gone += batch.unsigned_abs();
            if batch < self.1 {
                return Ok(gone);
            }
        }
    }

    /// Everything of teams that were removed long enough ago, the team's own row last.
    async fn removed_teams(&self, kept: Duration) -> PortResult<u64> {
        let sql = "SELECT id FROM teams WHERE deleted_at <= now() - $1::float8 * interval '1 second' ORDER BY id";
        let teams = self.0.query(sql, &[&kept.as_secs_f64()]).await;
        let mut gone = 0;
        for row in &teams.map_err(|error| judged(&error))? {
            let team: i64 = get(row, "id")?;
            for table in TEAM_TABLES {
                gone += self.of_team(table, team).await?;
            }
            let last = "DELETE FROM teams WHERE id = $1 AND deleted_at IS NOT NULL";
            gone += self.0.execute(last, &[&team]).await.map_err(|error| judged(&error))?;
        }
        Ok(gone)
    }

    async fn of_team(&self, table: &str, team: i64) -> PortResult<u64> {
        // A partitioned table has rows of equal address; its key is as good.
        let key = if table == "resource_changes" { "team_id, id, found_at" } else { "ctid" };
        let sql = format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE team_id = $1 LIMIT $2)
               AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NOT NULL)"
        );
        let mut gone = 0;
        loop {
            let batch = self.0.execute(&sql, &[&team, &self.1]).await;
            let batch = batch.map_err(|error| judged(&error))?;
            gone += batch;
            if batch < self.1.unsigned_abs() {
                return Ok(gone);
            }
        }
    }

    /// Deletes the rows that `chosen` addresses, a batch at a time. `$1` is the batch.
    async fn batches(&self, table: &str, chosen: &str, kept: Option<Duration>) -> PortResult<u64> {
        let sql = format!("DELETE FROM {table} WHERE ctid = ANY (ARRAY({chosen} LIMIT $1::int8))");
        let seconds = kept.map(|kept| kept.as_secs_f64());
        let mut gone = 0;
        loop {
            let batch = match &seconds {
                Some(seconds) => self.0.execute(&sql, &[&self.1, seconds]).await,
                None => self.0.execute(&sql, &[&self.1]).await,
            };
            let batch = batch.map_err(|error| judged(&error))?;
            gone += batch;
            if batch < self.1.unsigned_abs() {
                return Ok(gone);
            }
        }
    }
}
