//! Facts that several operations derive from the tables: who rests, what is
//! runnable, what class a run would have.

use std::time::Duration;

use time::OffsetDateTime;

use super::db::{LeaseRow, State, Tables, Team};
use crate::domain::{Class, DataType, Failure, Fence, PlatformId, ScopeKey, TeamId};
use crate::ports::store::{DueTimes, Intervals, Resting};

impl State {
    pub fn new(platform: PlatformId, intervals: Intervals, now: OffsetDateTime) -> Self {
        Self {
            platform,
            due: DueTimes { full: now, delta: now },
            wait: None,
            request: None,
            demand_at: None,
            dispatched_at: None,
            redispatch: Duration::ZERO,
            lease: None,
            fence: Fence(0),
            committed: None,
            paused_at: None,
            pause_warned_at: None,
            failures: 0,
            failing_since: None,
            last_error: None,
            last_success_at: None,
            last_full_at: None,
            last_mode: None,
            expected: None,
            cursor: None,
            intervals,
        }
    }

    /// When the state became or becomes due, by itself or by a request.
    pub fn due_at(&self) -> OffsetDateTime {
        let own = self.due.full.min(self.due.delta);
        self.request.as_ref().map_or(own, |request| own.min(request.at))
    }

    /// When a claim that nobody leased may be repeated.
    pub fn redispatch_at(&self) -> Option<OffsetDateTime> {
        self.dispatched_at.map(|at| at + self.redispatch)
    }

    pub fn waits(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.wait.map(|(until, _)| until).filter(|until| *until > now)
    }

    /// The lease, while its own time lasts; says nothing of its owner's health.
    pub fn lease_at(&self, now: OffsetDateTime) -> Option<LeaseRow> {
        self.lease.filter(|lease| lease.until > now)
    }

    /// Why a run would be wanted.
    pub fn class(&self) -> Class {
        match &self.request {
            Some(request) => request.class,
            None if self.failures > 0 => Class::Retry,
            None if self.last_success_at.is_none() => Class::Backfill,
            None => Class::Schedule,
        }
    }

    pub fn failed(&mut self, failure: &Failure, now: OffsetDateTime) {
        self.failures += 1;
        self.failing_since.get_or_insert(now);
        self.last_error = Some(failure.clone());
    }
}

impl Tables {
    /// A team that was not removed.
    pub fn team(&self, team: TeamId) -> Option<&Team> {
        self.teams.get(&team).filter(|team| team.deleted_at.is_none())
    }

    pub fn in_rollout(&self, id: TeamId, team: &Team) -> bool {
        let rollout = &self.rollout;
        rollout.enabled
            && (rollout.everyone
                || rollout.teams.contains(&id)
                || rollout.cohorts.iter().any(|cohort| team.cohorts.contains(cohort))
                || percentile(id) < rollout.percent)
    }

    /// Why nothing runs for a team, if nothing does. A removed team counts as
    /// out of the rollout.
    pub fn resting(&self, id: TeamId) -> Option<Resting> {
        let Some(team) = self.team(id) else { return Some(Resting::OutOfRollout) };
        if !self.in_rollout(id, team) {
            return Some(Resting::OutOfRollout);
        }
        if let Some(reason) = &team.paused {
            return Some(Resting::Paused(reason.clone()));
        }
        if team.key.is_none() {
            return Some(Resting::NoCredentials);
        }
        team.auth.as_ref().map(|auth| Resting::Auth(auth.reason.clone()))
    }

    /// Why one scope does not run: its team's reasons, or its own pause.
    pub fn scope_resting(&self, key: ScopeKey) -> Option<Resting> {
        self.resting(key.team).or_else(|| {
            let state = self.states.get(&key)?;
            state.paused_at?;
            let failure = state.last_error.as_ref();
            Some(Resting::Paused(match failure {
                Some(failure) => format!("failed for too long: {}", failure.message),
                None => "failed for too long".to_owned(),
            }))
        })
    }

    /// Until when a platform's circuit lets nothing pass.
    pub fn circuit_open_until(
        &self,
        platform: PlatformId,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let platform = self.platforms.get(&platform)?;
        platform.open_until.filter(|until| *until > now)
    }

    /// The predicate of [`Store::claim`](crate::ports::store::Store::claim).
    pub fn runnable(&self, key: ScopeKey, now: OffsetDateTime) -> bool {
        self.states.get(&key).is_some_and(|state| self.may_run(key, state, now))
    }

    /// The same of a state in hand: a claim asks it of every one.
    pub fn may_run(&self, key: ScopeKey, state: &State, now: OffsetDateTime) -> bool {
        state.due_at() <= now
            && state.waits(now).is_none()
            && state.lease_at(now).is_none()
            && state.redispatch_at().is_none_or(|at| at <= now)
            && self.scope_resting(key).is_none()
            && self.circuit_open_until(state.platform, now).is_none()
    }

    /// How many rows of a table are not confirmed gone.
    pub fn live(&self, team: TeamId, data_type: DataType) -> u64 {
        let rows = self.rows.get(&(team, data_type)).into_iter().flatten();
        rows.filter(|(_, row)| row.stale.is_none()).count() as u64
    }
}

/// A team's place in a rollout by percentage, 0 to 99, for ever the same.
fn percentile(team: TeamId) -> u8 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("vz-rollout/{team}"));
    let head = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    (head % 100) as u8
}
