//! Teams, pauses and the rollout.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::MemoryStore;
use super::db::{Platform, State, Tables, Team};
use crate::domain::{Fence, JobState, PlatformId, Scope, ScopeKey, TeamId};
use crate::ports::PortResult;
use crate::ports::platforms::Circuit;
use crate::ports::store::Intervals;
use crate::ports::teams::{NewTeam, Rollout, TeamView, Teams};

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
            },
        );
        id
    }

    fn put_team(&mut self, new: &NewTeam, now: OffsetDateTime) {
        let platform = self.platform_at(&new.platform_url);
        let team = self.teams.entry(new.id).or_insert_with(|| Team {
            name: String::new(),
            platform,
            cohorts: Vec::new(),
            owner_uid: None,
            key: None,
            paused: None,
            auth: None,
            trigger_tokens: None,
            last_change: 0,
            created_at: now,
            deleted_at: None,
        });
        team.name.clone_from(&new.name);
        team.cohorts.clone_from(&new.cohorts);
        team.platform = platform;
        team.deleted_at = None;
        for scope in Scope::ALL {
            let intervals = self.intervals(scope);
            let key = ScopeKey::new(new.id, scope);
            self.states.ensure(key, || State::new(platform, intervals, now)).platform = platform;
            for data_type in scope.data_types() {
                self.verified.entry((new.id, *data_type)).or_default();
            }
        }
    }

    /// Every scope of a team may run at once; only the platform's own waits stay.
    pub fn make_due(&mut self, team: TeamId, now: OffsetDateTime) {
        for scope in Scope::ALL {
            let Some(mut state) = self.states.get_mut(&ScopeKey::new(team, scope)) else {
                continue;
            };
            state.due.full = state.due.full.min(now);
            state.due.delta = state.due.delta.min(now);
            if state.wait.is_some_and(|(_, reason)| reason.yields_to_people()) {
                state.wait = None;
            }
        }
    }

    /// The archive knows only one way to be read.
    fn intervals(&self, scope: Scope) -> Intervals {
        let Intervals { full, delta } = self.defaults.intervals;
        match scope {
            Scope::Environments | Scope::JobLogs => Intervals { full, delta },
            Scope::ArchivedSites => Intervals { full, delta: full },
        }
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
            if let Some(mut state) = self.states.get_mut(&key) {
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

    async fn list(&self) -> PortResult<Vec<TeamView>> {
        let tables = self.tables();
        let live = tables.teams.iter().filter(|(_, team)| team.deleted_at.is_none());
        Ok(live.map(|(id, team)| tables.view(*id, team)).collect())
    }

    async fn remove(&self, team: TeamId) -> PortResult<bool> {
        Ok(self.tables().remove_team(team, self.now()))
    }

    async fn set_paused(&self, team: TeamId, paused: Option<String>) -> PortResult<bool> {
        let (mut tables, now) = (self.tables(), self.now());
        if tables.team(team).is_none() {
            return Ok(false);
        }
        let resumed = paused.is_none();
        if let Some(row) = tables.teams.get_mut(&team) {
            row.paused = paused;
        }
        if resumed {
            tables.make_due(team, now);
            for scope in Scope::ALL {
                let key = ScopeKey::new(team, scope);
                let Some(mut state) = tables.states.get_mut(&key) else { continue };
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

    async fn set_rollout(&self, rollout: &Rollout) -> PortResult<()> {
        self.tables().rollout = rollout.clone();
        Ok(())
    }
}
