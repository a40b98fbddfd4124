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
const DROP_PARTITIONS: &str = include_str!("sql/upkeep_drop_partitions.sql");
const ORPHANS: &str = include_str!("sql/upkeep_orphans.sql");
const OLD: &str = include_str!("sql/upkeep_old.sql");
const CHANGE_PARTS: &str = include_str!("sql/upkeep_change_parts.sql");
const REMOVED_TEAMS: &str = include_str!("sql/upkeep_removed_teams.sql");
const OF_TEAM: &str = include_str!("sql/upkeep_of_team.sql");

/// Tables of a removed team without a foreign key that would take them along.
const TEAM_TABLES: [&str; 9] = [
    "environments",
    "nodes",
    "archived_site_probes",
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
                .partitions(DROP_PARTITIONS, &[&keep.changes.as_secs_f64()])
                .await?,
            jobs: self.old("vz_sync_jobs", "finished_at", keep.jobs).await?,
            outbox: self.old("sync_outbox", "created_at", keep.outbox).await?,
            changes: self.changes(keep.changes).await?,
            job_logs: self.job_logs(keep.job_logs).await?,
            idempotency_keys: self
                .old("idempotency_keys", "created_at", keep.idempotency_keys)
                .await?,
            tickets: self.old("sse_tickets", "expires_at", Duration::ZERO).await?,
            replicas: self.old("replicas", "heartbeat_at", keep.replicas).await?,
            staging: self.batches(ORPHANS, None).await?,
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
        let sql = OLD.replace("{table}", table).replace("{column}", column);
        self.batches(&sql, Some(kept)).await
    }

    /// Change rows of months that are not over yet, or that have no partition.
    async fn changes(&self, kept: Duration) -> PortResult<u64> {
        let parts = self.0.query(CHANGE_PARTS, &[&kept.as_secs_f64()]).await;
        let parts = parts.map_err(|error| judged(&error))?;
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
        let teams = self.0.query(REMOVED_TEAMS, &[&kept.as_secs_f64()]).await;
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
        let sql = OF_TEAM.replace("{table}", table).replace("{key}", key);
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

    /// Deletes a batch at a time. `$1` is the batch.
    async fn batches(&self, sql: &str, kept: Option<Duration>) -> PortResult<u64> {
        let seconds = kept.map(|kept| kept.as_secs_f64());
        let mut gone = 0;
        loop {
            let batch = match &seconds {
                Some(seconds) => self.0.execute(sql, &[&self.1, seconds]).await,
                None => self.0.execute(sql, &[&self.1]).await,
            };
            let batch = batch.map_err(|error| judged(&error))?;
            gone += batch;
            if batch < self.1.unsigned_abs() {
                return Ok(gone);
            }
        }
    }
}
