//! What the scheduler and the dispatcher ask.

use std::time::Duration;

use tokio_postgres::Row;
use vz_sync_actors::domain::JobId;
use vz_sync_actors::ports::due_queue::DueEntry;

use super::super::error::Fault;
use super::PgStore;
use super::db::{Tx, class, key, read, write};

const FREE_EXPIRED: &str = include_str!("../sql/free_expired.sql");
/// The claim itself: `bench claim` looks at its plan.
pub const CLAIM_DUE: &str = include_str!("../sql/claim_due.sql");
const MARK_PUBLISHED: &str = "UPDATE vz_sync_jobs SET published_at = clock_timestamp()
     WHERE id = ANY ($1::int8[]) AND state = 'queued'";
const PUBLISHED_UNLEASED: &str =
    "SELECT count(*) FROM vz_sync_jobs WHERE state = 'queued' AND published_at IS NOT NULL";

impl PgStore {
    pub(super) async fn try_claim(
        &self,
        limit: u32,
        redispatch: Duration,
    ) -> Result<Vec<DueEntry>, Fault> {
        let (batch, seconds) = (i64::from(limit), redispatch.as_secs_f64());
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        tx.execute(FREE_EXPIRED, &[]).await?;
        let rows = tx.rows(CLAIM_DUE, &[&batch, &seconds]).await?;
        let entries: Result<Vec<DueEntry>, Fault> = rows.iter().map(entry).collect();
        let mut entries = entries?;
        tx.commit().await?;
        // RETURNING promises no order.
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.class), entry.deadline, entry.key));
        Ok(entries)
    }

    pub(super) async fn try_mark_published(&self, jobs: &[JobId]) -> Result<(), Fault> {
        // In order, so that two dispatchers cannot wait for each other.
        let mut ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        ids.sort_unstable();
        write(&self.pools.pipeline, MARK_PUBLISHED, &[&ids]).await.map(drop)
    }

    pub(super) async fn try_published_unleased(&self) -> Result<u64, Fault> {
        let rows = read(&self.pools.pipeline, PUBLISHED_UNLEASED, &[]).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(count as u64)
    }
}

fn entry(row: &Row) -> Result<DueEntry, Fault> {
    Ok(DueEntry {
        key: key(row)?,
        job: JobId(row.try_get("id")?),
        class: class(row)?,
        deadline: row.try_get("deadline")?,
        trace_parent: row.try_get("trace_parent")?,
    })
}
