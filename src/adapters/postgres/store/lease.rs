//! The real lock: fence, lease and job move together.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;
use vz_sync_actors::domain::retry::Sustained;
use vz_sync_actors::domain::{Failure, Fence, JobState, PlatformId, RunId};
use vz_sync_actors::ports::store::{
    Cursor, DueTimes, Intervals, Lease, LeaseAnswer, LeaseAsk, LeaseRef, Resting,
};

use super::super::error::Fault;
use super::PgStore;
use super::db::{Tx, class, key, read, word, write};
use super::{jobs, outbox};

/// The guard of every write of a run.
pub(super) const GUARD: &str = include_str!("../sql/guard.sql");
/// What a fencing test compares it with.
pub(super) const UNGUARDED: &str = include_str!("../sql/unguarded.sql");

const TAKE_LEASE: &str = include_str!("../sql/take_lease.sql");
const RENEW_LEASE: &str = include_str!("../sql/renew_lease.sql");
pub(super) const LOCK_STATE: &str = include_str!("../sql/lock_state.sql");
const EXHAUST_STATE: &str = include_str!("../sql/exhaust_state.sql");
const COMMITTED: &str = include_str!("../sql/committed.sql");
const LEASED_BY: &str = "SELECT team_id, scope FROM vz_sync_states WHERE lease_run = $1";
const STATELESS_JOB: &str = "UPDATE vz_sync_jobs SET state = 'obsolete', finished_at = clock_timestamp(), published_at = NULL
     WHERE team_id = $1 AND id = $2 AND state = 'queued'";

impl PgStore {
    pub(super) async fn try_lease(&self, ask: &LeaseAsk) -> Result<LeaseAnswer, Fault> {
        let asked_at = Instant::now();
        // A dead owner's lease is freed once; who finds another one then lost
        // to a run that lives.
        for _ in 0..2 {
            let rows = write(
                &self.pools.pipeline,
                TAKE_LEASE,
                &[
                    &ask.key.team.0,
                    &ask.key.scope.as_str(),
                    &ask.job.0,
                    &ask.replica.0,
                    &ask.run.0,
                    &ask.ttl.as_secs_f64(),
                    &ask.dead_after.as_secs_f64(),
                    &ask.collision_delay.as_secs_f64(),
                    &i32::try_from(ask.max_attempts).unwrap_or(i32::MAX),
                ],
            )
            .await?;
            let Some(row) = rows.first() else { return self.without_state(ask).await };
            match row.try_get("verdict")? {
                "granted" => {
                    return Ok(LeaseAnswer::Granted(Box::new(self.granted(ask, asked_at, row)?)));
                }
                "not_queued" => return Ok(LeaseAnswer::NotQueued),
                "resting" => return Ok(LeaseAnswer::Resting(resting(row)?)),
                "busy" => {
                    return Ok(LeaseAnswer::Busy { holder: RunId(row.try_get("holder")?) });
                }
                "later" => {
                    return Ok(LeaseAnswer::Later { not_before: row.try_get("not_before")? });
                }
                "fresh" => return Ok(LeaseAnswer::Fresh),
                "exhausted" => {
                    let attempts: i32 = row.try_get("attempts")?;
                    return self.exhaust(ask, attempts.max(0) as u32).await;
                }
                "dead_lease" => {
                    let holder: uuid::Uuid = row.try_get("holder")?;
                    self.try_free(ask.key, RunId(holder)).await?;
                }
                other => return Err(Fault::unreadable(format!("lease verdict {other}"))),
            }
        }
        Ok(LeaseAnswer::NotQueued)
    }

    /// The team or its state is gone: nobody is left to do the job for.
    async fn without_state(&self, ask: &LeaseAsk) -> Result<LeaseAnswer, Fault> {
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        let settled = tx.execute(STATELESS_JOB, &[&ask.key.team.0, &ask.job.0]).await?;
        tx.commit().await?;
        Ok(if settled > 0 {
            LeaseAnswer::Resting(Resting::OutOfRollout)
        } else {
            LeaseAnswer::NotQueued
        })
    }

    fn granted(&self, ask: &LeaseAsk, asked_at: Instant, row: &Row) -> Result<Lease, Fault> {
        let seconds = |column: &str, otherwise: Duration| -> Result<Duration, Fault> {
            let own: Option<i32> = row.try_get(column)?;
            Ok(own.map_or(otherwise, |own| Duration::from_secs(own.max(0) as u64)))
        };
        let cursor: Option<serde_json::Value> = row.try_get("cursor")?;
        let cursor: Option<Cursor> =
            cursor.map(serde_json::from_value).transpose().map_err(Fault::unreadable)?;
        let (attempt, failures): (i32, i32) = (row.try_get("attempt")?, row.try_get("failures")?);
        let environments: Option<Vec<String>> = row.try_get("requested_environments")?;
        let asked: Option<&str> = row.try_get("requested_mode")?;
        let expected: Option<i64> = row.try_get("expected")?;
        let fence = Fence(row.try_get("fence")?);
        Ok(Lease {
            name: LeaseRef { key: ask.key, job: ask.job, run: ask.run, fence },
            mode: word(row, "mode")?,
            class: class(row)?,
            attempt: attempt.max(0) as u32,
            requested_at: row.try_get("requested_at")?,
            asked: asked.map(|mode| mode.parse()).transpose().map_err(Fault::unreadable)?,
            environments: environments.unwrap_or_default(),
            failures: failures.max(0) as u32,
            failing_since: row.try_get("failing_since")?,
            last_full_at: row.try_get("last_full_at")?,
            due: DueTimes {
                full: row.try_get("next_full_at")?,
                delta: row.try_get("next_delta_at")?,
            },
            cursor,
            intervals: Intervals {
                full: seconds("full_interval_seconds", self.settings.intervals.full)?,
                delta: seconds("delta_interval_seconds", self.settings.intervals.delta)?,
            },
            platform: PlatformId(row.try_get("platform_id")?),
            owner_uid: row.try_get("owner_uid")?,
            expected: expected.map(|rows| rows.max(0) as u64),
            dispatched_at: row.try_get("dispatched_at")?,
            database_now: row.try_get("at")?,
            asked_at,
            trace_parent: row.try_get("requested_trace")?,
        })
    }

    /// The job's attempts are used up: it is dead, and says so once.
    async fn exhaust(&self, ask: &LeaseAsk, attempts: u32) -> Result<LeaseAnswer, Fault> {
        let (key, job) = (ask.key, ask.job);
        let failure = Failure::internal(
            "attempts_exhausted",
            format!(
                "job {job} of {key} ended {attempts} times without an answer; replay it when the cause is found"
            ),
        );
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        tx.rows(LOCK_STATE, &[&key.team.0, &key.scope.as_str()]).await?;
        let queued =
            "SELECT 1 FROM vz_sync_jobs WHERE team_id = $1 AND id = $2 AND state = 'queued'";
        if tx.row(queued, &[&key.team.0, &job.0]).await?.is_none() {
            return Ok(LeaseAnswer::NotQueued);
        }
        let event = jobs::fail(&tx, key, job, JobState::Dead, &failure).await?;
        let wait = Some(self.settings.exhausted_wait);
        jobs::fail_state(&tx, key, &failure, wait, Sustained::No).await?;
        tx.execute(EXHAUST_STATE, &[&key.team.0, &key.scope.as_str()]).await?;
        outbox::tell(&tx, key.team, &[event], 0).await?;
        tx.commit().await?;
        Ok(LeaseAnswer::Exhausted { attempts })
    }

    pub(super) async fn try_renew(&self, lease: &LeaseRef, ttl: Duration) -> Result<bool, Fault> {
        let client = self.pools.pipeline.get().await?;
        let statement = client.prepare_cached(RENEW_LEASE).await?;
        let renewed = client
            .execute(
                &statement,
                &[
                    &lease.key.team.0,
                    &lease.key.scope.as_str(),
                    &lease.fence.0,
                    &lease.run.0,
                    &lease.job.0,
                    &ttl.as_secs_f64(),
                ],
            )
            .await
            .map_err(Fault::Commit)?;
        Ok(renewed > 0)
    }

    pub(super) async fn try_release(&self, run: RunId) -> Result<bool, Fault> {
        self.forget_staged(run);
        let rows = read(&self.pools.pipeline, LEASED_BY, &[&run.0]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        self.try_free(key(row)?, run).await
    }

    /// Ends this run's lease, if it still has it; its job is queued again.
    async fn try_free(
        &self,
        key: vz_sync_actors::domain::ScopeKey,
        run: RunId,
    ) -> Result<bool, Fault> {
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        let row = tx.row(LOCK_STATE, &[&key.team.0, &key.scope.as_str()]).await?;
        let holder: Option<uuid::Uuid> =
            row.map(|row| row.try_get("lease_run")).transpose()?.flatten();
        if holder != Some(run.0) {
            return Ok(false);
        }
        jobs::end_lease(&tx, key).await?;
        jobs::requeue(&tx, key, false, None).await?;
        tx.notify_due().await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn try_committed(&self, lease: &LeaseRef) -> Result<bool, Fault> {
        let rows = read(
            &self.pools.pipeline,
            COMMITTED,
            &[&lease.key.team.0, &lease.key.scope.as_str(), &lease.fence.0, &lease.run.0],
        )
        .await?;
        let committed: Option<bool> =
            rows.first().map(|row| row.try_get("committed")).transpose()?.flatten();
        Ok(committed.unwrap_or(false))
    }
}

/// Why a scope rests, the most general reason first.
fn resting(row: &Row) -> Result<Resting, Fault> {
    let in_rollout: Option<bool> = row.try_get("in_rollout")?;
    if in_rollout != Some(true) {
        return Ok(Resting::OutOfRollout);
    }
    if row.try_get::<_, bool>("paused")? {
        let reason: Option<String> = row.try_get("paused_reason")?;
        return Ok(Resting::Paused(reason.unwrap_or_default()));
    }
    if row.try_get::<_, Option<bool>>("has_key")? != Some(true) {
        return Ok(Resting::NoCredentials);
    }
    let reason: Option<String> = row.try_get("auth_failed_reason")?;
    Ok(Resting::Auth(reason.unwrap_or_default()))
}
