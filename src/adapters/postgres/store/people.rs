//! What people decide: cancel, replay, release or reject.

use vz_sync_actors::domain::{
    DataType, Failure, FailureClass, HoldId, JobId, JobState, Mode, ScopeKey, TeamId,
};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::store::Requested;

use super::super::error::Fault;
use super::PgStore;
use super::db::{Tx, key, read, word};
use super::lease::LOCK_STATE;
use super::request::by_operator;
use super::{jobs, outbox};

const REST_AFTER_CANCEL: &str = include_str!("../sql/rest_after_cancel.sql");
const HOLD_DECIDE: &str = include_str!("../sql/hold_decide.sql");
const LET_GO_ENVIRONMENTS: &str = include_str!("../sql/hold_let_go_environments.sql");
const LET_GO_NODES: &str = include_str!("../sql/hold_let_go_nodes.sql");
pub(super) const WAKE: &str = include_str!("../sql/wake.sql");
const JOB_SCOPE: &str = "SELECT team_id, scope FROM vz_sync_jobs WHERE team_id = $1 AND id = $2";
const JOB_STATE: &str = "SELECT state FROM vz_sync_jobs WHERE team_id = $1 AND id = $2";
const JOB: &str = "SELECT team_id, scope, state, mode FROM vz_sync_jobs WHERE id = $1";

impl PgStore {
    pub(super) async fn try_cancel(
        &self,
        team: TeamId,
        job: JobId,
        by: &str,
    ) -> Result<bool, Fault> {
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        let Some(row) = tx.row(JOB_SCOPE, &[&team.0, &job.0]).await? else { return Ok(false) };
        let key = key(&row)?;
        let state = tx.row(LOCK_STATE, &[&team.0, &key.scope.as_str()]).await?;
        // Only now does the job's state stand still.
        let Some(row) = tx.row(JOB_STATE, &[&team.0, &job.0]).await? else { return Ok(false) };
        let job_state: JobState = word(&row, "state")?;
        if job_state.is_terminal() {
            return Ok(false);
        }
        let (mut bound, mut at) = (None, None);
        if let Some(state) = state {
            at = Some(state.try_get("at")?);
            if job_state == JobState::Running {
                bound = state.try_get("last_started_at")?;
            }
        }
        if job_state == JobState::Running {
            jobs::end_lease(&tx, key).await?;
        }
        let event = self.cancelled(&tx, key, job, by, bound.or(at)).await?;
        outbox::tell(&tx, team, &[event], 0).await?;
        let stop = format!("runs:{team}");
        tx.rows("SELECT pg_notify('vz_sync', $1::text)", &[&stop]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a job as cancelled. The scope's own times stay, so it waits one
    /// delta interval; a person may ask sooner.
    pub(super) async fn cancelled(
        &self,
        tx: &Tx<'_>,
        key: ScopeKey,
        job: JobId,
        by: &str,
        asked_before: Option<time::OffsetDateTime>,
    ) -> Result<outbox::Outgoing, Fault> {
        let failure = Failure::new(
            FailureClass::Capability,
            "cancelled",
            format!("job {job} of {key} was cancelled by {by}"),
        );
        let event = jobs::fail(tx, key, job, JobState::Cancelled, &failure).await?;
        if let Some(bound) = asked_before {
            jobs::answer_request(tx, key, job, bound).await?;
        }
        let delta = i32::try_from(self.settings.intervals.delta.as_secs()).unwrap_or(i32::MAX);
        tx.execute(REST_AFTER_CANCEL, &[&key.team.0, &key.scope.as_str(), &delta]).await?;
        Ok(event)
    }

    pub(super) async fn try_replay(&self, job: JobId, by: &str) -> Result<JobId, Fault> {
        let missing = || PortError::NotFound(format!("job {job}"));
        let refused = |message: String| PortError::Refused { service: "postgres", message };
        let rows = read(&self.pools.pipeline, JOB, &[&job.0]).await?;
        let row = rows.first().ok_or_else(missing)?;
        let (key, state) = (key(row)?, word::<JobState>(row, "state")?);
        if !matches!(state, JobState::Failed | JobState::Dead) {
            let message =
                format!("job {job} is {state}; only failed and dead jobs can be replayed");
            return Err(refused(message).into());
        }
        let mode: Option<&str> = row.try_get("mode")?;
        let mode: Option<Mode> = mode.map(str::parse).transpose().map_err(Fault::unreadable)?;
        let mut ask = by_operator(key.team, key.scope, by);
        ask.mode = mode;
        match self.try_request(&ask).await? {
            Requested::Accepted(jobs) => {
                Ok(jobs.first().map(|job| job.job_id).ok_or_else(missing)?)
            }
            Requested::Resting(resting) => Err(refused(format!(
                "job {job} cannot be replayed: team {} rests ({resting:?})",
                key.team
            ))
            .into()),
            Requested::UnknownTeam => Err(PortError::NotFound(format!("team {}", key.team)).into()),
            Requested::IdempotencyConflict | Requested::TooMany { .. } => Err(missing().into()),
        }
    }

    pub(super) async fn try_decide_hold(
        &self,
        team: TeamId,
        hold: HoldId,
        release: bool,
        by: &str,
    ) -> Result<bool, Fault> {
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        // Both kinds of hold belong to the environments: their state comes first.
        let scope = DataType::Environments.scope();
        tx.rows(LOCK_STATE, &[&team.0, &scope.as_str()]).await?;
        let rejected_for = self.settings.rejected_for.as_secs_f64();
        let decided =
            tx.row(HOLD_DECIDE, &[&team.0, &hold.0, &release, &by, &rejected_for]).await?;
        let Some(row) = decided else { return Ok(false) };
        if release {
            tx.rows(WAKE, &[&team.0, &scope.as_str()]).await?;
        } else {
            let let_go = match word(&row, "data_type")? {
                DataType::Nodes => LET_GO_NODES,
                _ => LET_GO_ENVIRONMENTS,
            };
            tx.execute(let_go, &[&team.0, &hold.0]).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
