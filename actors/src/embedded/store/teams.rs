//! Teams, pauses and the rollout.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::MemoryStore;
use super::db::{Platform, State, Tables, Team};
use crate::domain::{
    DataType, FailureClass, Fence, JobState, PlatformId, Refused, Scope, ScopeKey, TeamId,
};
use crate::ports::PortResult;
use crate::ports::platforms::Circuit;
use crate::ports::store::Intervals;
use crate::ports::teams::{NewTeam, Overrides, Pause, Rollout, TeamView, Teams};

impl Tables {
    fn platform_at(&mut self, base_url: &str) -> PlatformId {
        let base_url = base_url.trim_end_matches('/');
        if let Some((id, _)) = self.platforms.iter().find(|(_, row)| row.base_url == base_url) {
            return *id;
        }
        let id = PlatformId(self.platforms.keys().last().map_or(1, |last| last.0 + 1));
        self.platforms.insert(
            id,
            Platform {
                base_url: base_url.to_owned(),
                circuit: Circuit::Closed,
                consecutive_failures: 0,
                open_until: None,
                next_token_at: None,
                last_error: None,
            },
        );
        id
    }

    fn put_team(&mut self, new: &NewTeam, now: OffsetDateTime) {
        let platform = self.platform_at(&new.platform_url);
        let team = self.teams.entry(new.id).or_insert_with(|| Team {
            name: String::new(),
            platform,
            cohorts: new.cohorts.clone().unwrap_or_default(),
            owner_uid: None,
            key: None,
            paused: None,
            auth: None,
            trigger_tokens: None,
            overrides: Overrides::default(),
            last_change: 0,
            created_at: now,
            deleted_at: None,
        });
        team.name.clone_from(&new.name);
        if let Some(cohorts) = &new.cohorts {
            team.cohorts.clone_from(cohorts);
        }
        let moved = team.platform != platform;
        team.platform = platform;
        team.deleted_at = None;
        if moved {
            // A key must never travel to a platform that it was not given for.
            team.key = None;
            if !new.same_account {
                team.owner_uid = None;
            }
            self.leave_platform(new.id, new.same_account, now);
        }
        for scope in Scope::ALL {
            let own = self.teams.get(&new.id).map(|team| team.overrides.clone());
            let intervals = self.intervals(scope, &own.unwrap_or_default());
            let key = ScopeKey::new(new.id, scope);
            let state = self.states.entry(key);
            state.or_insert_with(|| State::new(platform, intervals, now)).platform = platform;
            for data_type in scope.data_types() {
                self.verified.entry((new.id, *data_type)).or_default();
            }
        }
    }

    /// What ran for the old platform commits nothing, and what it asked for
    /// does not bind the new one.
    fn leave_platform(&mut self, team: TeamId, same_account: bool, now: OffsetDateTime) {
        if same_account {
            self.stop_runs(team, now);
        } else {
            self.start_anew(team, now);
        }
        for (_, state) in self.states.iter_mut().filter(|(key, _)| key.team == team) {
            state.wait = None;
        }
    }

    /// Every scope of a team may run at once; only the platform's own waits stay.
    pub fn make_due(&mut self, team: TeamId, now: OffsetDateTime) {
        for (_, state) in self.states.iter_mut().filter(|(key, _)| key.team == team) {
            state.due.full = state.due.full.min(now);
            state.due.delta = state.due.delta.min(now);
            if state.wait.is_some_and(|(_, reason)| reason.yields_to_people()) {
                state.wait = None;
            }
        }
    }

    /// With a key that works every scope is due. What the refused one failed at
    /// is not the new one's failure, and it may do what the last one might not.
    pub fn begin_with_key(&mut self, team: TeamId, now: OffsetDateTime) {
        self.make_due(team, now);
        for (_, state) in self.states.iter_mut().filter(|(key, _)| key.team == team) {
            if state.last_error.as_ref().is_some_and(|last| last.class == FailureClass::Auth) {
                state.failures = 0;
                state.failing_since = None;
            }
            state.refused = Refused::default();
        }
    }

    /// The archive knows only one way to be read.
    fn intervals(&self, scope: Scope, own: &Overrides) -> Intervals {
        let seconds = |own: Option<&u32>, otherwise| {
            own.map_or(otherwise, |own| Duration::from_secs(u64::from(*own)))
        };
        let full = seconds(own.full_interval_seconds.get(&scope), self.defaults.intervals.full);
        let otherwise = match scope {
            Scope::Environments | Scope::JobLogs => self.defaults.intervals.delta,
            Scope::ArchivedSites => full,
        };
        Intervals { full, delta: seconds(own.delta_interval_seconds.get(&scope), otherwise) }
    }

    fn override_team(&mut self, team: TeamId, own: &Overrides, now: OffsetDateTime) -> bool {
        if self.team(team).is_none() {
            return false;
        }
        for scope in Scope::ALL {
            let intervals = self.intervals(scope, own);
            let Some(state) = self.states.get_mut(&ScopeKey::new(team, scope)) else { continue };
            state.intervals = intervals;
            state.due.full = state.due.full.min(now + intervals.full);
            state.due.delta = state.due.delta.min(now + intervals.delta);
        }
        if let Some(row) = self.teams.get_mut(&team) {
            row.overrides = own.clone();
        }
        true
    }

    /// How old an answer of this team's table may be.
    pub fn max_age(&self, team: TeamId, data_type: DataType) -> Duration {
        let own = self.teams.get(&team).map(|team| &team.overrides.max_allowed_staleness_seconds);
        let own = own.and_then(|own| own.get(&data_type));
        own.map_or_else(
            || self.defaults.max_age(data_type),
            |own| Duration::from_secs(u64::from(*own)),
        )
    }

    fn remove_team(&mut self, team: TeamId, now: OffsetDateTime) -> bool {
        if self.team(team).is_none() {
            return false;
        }
        if let Some(row) = self.teams.get_mut(&team) {
            row.deleted_at = Some(now);
            row.key = None;
        }
        for scope in Scope::ALL {
            let key = ScopeKey::new(team, scope);
            self.unlease(key);
            if let Some(state) = self.states.get_mut(&key) {
                state.fence = Fence(state.fence.0 + 1);
                state.request = None;
            }
            let open = [self.running.get(&key).copied(), self.queued.get(&key).copied()];
            for job in open.into_iter().flatten() {
                self.finish(job, JobState::Obsolete, None, now);
            }
        }
        true
    }

    fn view(&self, id: TeamId, team: &Team) -> TeamView {
        let platform = self.platforms.get(&team.platform);
        TeamView {
            id,
            name: team.name.clone(),
            platform: team.platform,
            platform_url: platform.map(|row| row.base_url.clone()).unwrap_or_default(),
            owner_uid: team.owner_uid,
            has_credentials: team.key.is_some(),
            paused: team.paused.clone(),
            in_rollout: self.in_rollout(id, team),
            overrides: team.overrides.clone(),
            created_at: team.created_at,
        }
    }
}

#[async_trait]
impl Teams for MemoryStore {
    async fn put(&self, team: &NewTeam) -> PortResult<TeamView> {
        let (mut tables, now) = (self.tables(), self.now());
        tables.put_team(team, now);
        let row = tables.team(team.id).ok_or_else(|| super::no_team(team.id))?;
        Ok(tables.view(team.id, row))
    }

    async fn get(&self, team: TeamId) -> PortResult<Option<TeamView>> {
        let tables = self.tables();
        Ok(tables.team(team).map(|row| tables.view(team, row)))
    }

    async fn list(&self) -> PortResult<Vec<TeamView>> {
        let tables = self.tables();
        let live = tables.teams.iter().filter(|(_, team)| team.deleted_at.is_none());
        Ok(live.map(|(id, team)| tables.view(*id, team)).collect())
    }

    async fn set_overrides(&self, team: TeamId, overrides: &Overrides) -> PortResult<bool> {
        Ok(self.tables().override_team(team, overrides, self.now()))
    }

    async fn remove(&self, team: TeamId) -> PortResult<bool> {
        Ok(self.tables().remove_team(team, self.now()))
    }

    async fn set_paused(&self, team: TeamId, paused: Option<Pause>) -> PortResult<bool> {
        let (mut tables, now) = (self.tables(), self.now());
        if tables.team(team).is_none() {
            return Ok(false);
        }
        let resumed = paused.is_none();
        if let Some(row) = tables.teams.get_mut(&team) {
            row.paused = paused.map(|pause| pause.reason);
        }
        if resumed {
            tables.make_due(team, now);
            for (_, state) in tables.states.iter_mut().filter(|(key, _)| key.team == team) {
                state.failures = 0;
                state.failing_since = None;
                state.paused_at = None;
                state.pause_warned_at = None;
            }
        }
        Ok(true)
    }

    async fn rollout(&self) -> PortResult<Rollout> {
        Ok(self.tables().rollout.clone())
    }

    async fn set_rollout(&self, rollout: &Rollout, _by: &str) -> PortResult<()> {
        self.tables().rollout = rollout.clone();
        Ok(())
    }
}
