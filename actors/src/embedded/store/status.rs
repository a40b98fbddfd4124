//! One (team, scope) as it stands, and the facts of its freshness.

use time::OffsetDateTime;

use super::db::{Job, State, Tables, WaitReason};
use crate::domain::baseline::HoldState;
use crate::domain::{DataType, JobId, Scope, ScopeKey, TeamId};
use crate::ports::reads::{FreshnessFacts, JobRow, LeaseView, ScopeStatus, TeamSummary};
use crate::ports::store::Resting;

impl Tables {
    pub fn scope_status(&self, key: ScopeKey, now: OffsetDateTime) -> Option<ScopeStatus> {
        let state = self.states.get(&key)?;
        let resting = self.scope_resting(key);
        let lease = state.lease_at(now);
        let (status, reason, message) = self.judge(key, state, resting.as_ref(), now);
        let job = |id: Option<&JobId>| {
            let id = *id?;
            self.jobs.get(&id).map(|job| job_row(id, job))
        };
        Some(ScopeStatus {
            key,
            status: status.to_owned(),
            pending_reason: reason.map(ToOwned::to_owned),
            pending_message: message,
            due: state.due,
            not_before: state.waits(now),
            requested_at: state.request.as_ref().map(|request| request.at),
            dispatched_at: state.dispatched_at,
            queued: job(self.queued.get(&key)),
            running: job(self.running.get(&key)),
            lease: lease.map(|row| LeaseView { owner: row.owner, run: row.run, until: row.until }),
            fence: state.fence,
            failures: state.failures,
            failing_since: state.failing_since,
            pause_warned_at: state.pause_warned_at,
            last_error: state.last_error.as_ref().map(|f| format!("{} {}", f.class, f.code)),
            last_success_at: state.last_success_at,
            last_full_at: state.last_full_at,
            last_mode: state.last_mode,
            resting,
            refused: state.refused.clone(),
            circuit_open_until: self.circuit_open_until(state.platform, now),
            now,
        })
    }

    /// Status word, reason code and reason in words.
    fn judge(
        &self,
        key: ScopeKey,
        state: &State,
        resting: Option<&Resting>,
        now: OffsetDateTime,
    ) -> (&'static str, Option<&'static str>, Option<String>) {
        let said = || state.last_error.as_ref().map(|failure| failure.message.clone());
        if state.lease_at(now).is_some() {
            return ("running", None, None);
        }
        match resting {
            Some(Resting::Paused(why)) => return ("paused", Some("paused"), Some(why.clone())),
            Some(Resting::Auth(why)) => return ("error", Some("auth"), Some(why.clone())),
            Some(Resting::NoCredentials) => return ("disabled", Some("no_credentials"), None),
            Some(_) => return ("disabled", Some("out_of_rollout"), None),
            None => {}
        }
        if self.circuit_open_until(state.platform, now).is_some() {
            return ("throttled", Some("circuit_open"), said());
        }
        match state.wait.filter(|(until, _)| *until > now) {
            Some((_, reason @ WaitReason::Platform(_))) => {
                ("throttled", Some(reason.code()), said())
            }
            Some((_, reason @ (WaitReason::Backoff | WaitReason::Partial))) => {
                ("retrying", Some(reason.code()), said())
            }
            _ if self.queued.contains_key(&key) || state.dispatched_at.is_some() => {
                ("queued", None, None)
            }
            _ => ("idle", None, None),
        }
    }

    pub fn freshness(
        &self,
        team: TeamId,
        data_type: DataType,
        now: OffsetDateTime,
    ) -> Option<FreshnessFacts> {
        let verified = self.verified.get(&(team, data_type))?;
        let waiting = self.holds.values().filter(|hold| {
            hold.team == team && hold.data_type == data_type && hold.state == HoldState::Held
        });
        Some(FreshnessFacts {
            data_type,
            verified_at: verified.at,
            verified_by: verified.by,
            max_allowed_staleness: self.max_age(team, data_type),
            now,
            scope: self.scope_status(ScopeKey::new(team, data_type.scope()), now)?,
            holds: waiting.count() as u32,
        })
    }

    pub fn summary(&self, id: TeamId, now: OffsetDateTime) -> Option<TeamSummary> {
        let team = self.team(id)?;
        let mut by_status = std::collections::HashMap::new();
        let environments = self.rows.get(&(id, DataType::Environments)).into_iter().flatten();
        for (_, row) in environments.filter(|(_, row)| row.stale.is_none()) {
            *by_status.entry(super::baseline::status(row).unwrap_or_default()).or_default() += 1;
        }
        Some(TeamSummary {
            id,
            name: team.name.clone(),
            environments_by_status: by_status,
            nodes: self.live(id, DataType::Nodes),
            freshness: DataType::ALL.iter().filter_map(|d| self.freshness(id, *d, now)).collect(),
            resting: self.resting(id),
        })
    }

    pub fn scopes(&self, team: TeamId, now: OffsetDateTime) -> Option<Vec<ScopeStatus>> {
        self.team(team)?;
        let key = |scope| ScopeKey::new(team, scope);
        Some(Scope::ALL.into_iter().filter_map(|s| self.scope_status(key(s), now)).collect())
    }
}

pub(super) fn job_row(id: JobId, job: &Job) -> JobRow {
    JobRow {
        id,
        scope: job.key.scope,
        state: job.state,
        mode: job.mode,
        class: job.class,
        requested_by: job.requested_by.clone(),
        attempt: job.attempt,
        created_at: job.created_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
        counts: job.counts,
        error_class: job.error.as_ref().map(|failure| failure.class.to_string()),
        error: job.error.as_ref().map(|failure| failure.message.clone()),
        satisfied_by_job_id: job.satisfied_by,
    }
}
