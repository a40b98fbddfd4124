//! What operators decide: cancel, replay, release or reject.

use time::OffsetDateTime;

use super::db::{Tables, WaitReason};
use crate::domain::baseline::HoldState;
use crate::domain::{Class, Fence, HoldId, JobId, JobState, RunId, TeamId};
use crate::ports::store::{LeaseRef, Requested, SyncRequest};
use crate::ports::{PortError, PortResult};

impl Tables {
    pub fn cancel(&mut self, team: TeamId, id: JobId, by: &str, now: OffsetDateTime) -> bool {
        let Some(job) = self.jobs.get(&id).filter(|job| job.key.team == team) else { return false };
        if job.state.is_terminal() {
            return false;
        }
        let (key, queued) = (job.key, job.state == JobState::Queued);
        let lease = self.states.get(&key).and_then(|state| state.lease);
        let since = match lease {
            Some(row) if !queued => {
                self.unlease(key);
                row.since
            }
            _ => now,
        };
        let run = lease.map_or(RunId(uuid::Uuid::nil()), |row| row.run);
        let name = LeaseRef { key, job: id, run, fence: Fence(0) };
        self.stop(&name, by, since, now);
        true
    }

    pub fn replay(&mut self, id: JobId, by: &str, now: OffsetDateTime) -> PortResult<JobId> {
        let missing = || PortError::NotFound(format!("job {id}"));
        let job = self.jobs.get(&id).ok_or_else(missing)?;
        let key = job.key;
        if !matches!(job.state, JobState::Failed | JobState::Dead) {
            return Err(PortError::Refused {
                service: "store",
                message: format!(
                    "job {id} is {}; only failed and dead jobs can be replayed",
                    job.state
                ),
            });
        }
        let ask = SyncRequest {
            team: key.team,
            scopes: vec![key.scope],
            class: Class::Manual,
            mode: job.mode,
            environments: Vec::new(),
            requested_by: by.to_owned(),
            trace_parent: None,
            demand_interval: std::time::Duration::ZERO,
            idempotency: None,
            per_minute: None,
        };
        match self.request(&ask, now) {
            Requested::Accepted(jobs) => jobs.first().map(|job| job.job_id).ok_or_else(missing),
            Requested::Resting(resting) => Err(PortError::Refused {
                service: "store",
                message: format!(
                    "job {id} cannot be replayed: team {} rests ({resting:?})",
                    key.team
                ),
            }),
            Requested::UnknownTeam => Err(PortError::NotFound(format!("team {}", key.team))),
            Requested::IdempotencyConflict | Requested::TooMany { .. } => Err(missing()),
        }
    }

    pub fn decide_hold(
        &mut self,
        team: TeamId,
        id: HoldId,
        release: bool,
        by: &str,
        now: OffsetDateTime,
    ) -> bool {
        let open = |hold: &&mut super::db::Hold| hold.team == team && hold.state == HoldState::Held;
        let Some(hold) = self.holds.get_mut(&id).filter(open) else { return false };
        hold.state = if release { HoldState::Released } else { HoldState::Rejected };
        hold.decided = Some((now, by.to_owned()));
        let (data_type, items) = (hold.data_type, hold.items.clone());
        if release {
            self.wake(crate::domain::ScopeKey::new(team, data_type.scope()), now);
        } else {
            self.clear_held(team, data_type, &items);
        }
        true
    }

    /// Makes a scope due at once, in full. A wait of our own making ends.
    pub fn wake(&mut self, key: crate::domain::ScopeKey, now: OffsetDateTime) {
        if let Some(mut state) = self.states.get_mut(&key) {
            state.due.full = state.due.full.min(now);
            state.due.delta = state.due.delta.min(now);
            if state.wait.is_some_and(|(_, reason)| {
                matches!(reason, WaitReason::Backoff | WaitReason::Partial)
            }) {
                state.wait = None;
            }
        }
    }
}
