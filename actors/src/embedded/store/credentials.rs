//! Keys in memory. There is no disk to seal them for; they are still never
//! shown.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::db::Key;
use super::{MemoryStore, no_team};
use crate::domain::TeamId;
use crate::ports::PortResult;
use crate::ports::credentials::{
    Access, CredentialInfo, Credentials, OnOtherAccount, Resolved, account_changed,
};
use crate::ports::store::Resting;

#[async_trait]
impl Credentials for MemoryStore {
    async fn resolve(&self, team: TeamId) -> PortResult<Resolved> {
        let tables = self.tables();
        let row = tables.team(team).ok_or_else(|| no_team(team))?;
        let Some(key) = &row.key else { return Ok(Resolved::None) };
        let base_url = tables.platforms.get(&row.platform).map(|p| p.base_url.clone());
        Ok(Resolved::Access(Access {
            platform: row.platform,
            base_url: base_url.unwrap_or_default(),
            team,
            owner_uid: row.owner_uid,
            session: key.secret.clone(),
        }))
    }

    async fn replace(
        &self,
        team: TeamId,
        key: SecretString,
        owner_uid: i64,
        other: OnOtherAccount,
        _by: &str,
    ) -> PortResult<()> {
        let (mut tables, now) = (self.tables(), self.now());
        let row = tables.team(team).ok_or_else(|| no_team(team))?;
        if let Some(owner) = row.owner_uid.filter(|owner| *owner != owner_uid) {
            match other {
                OnOtherAccount::Refuse => {
                    return Err(account_changed("store", team, owner, owner_uid));
                }
                OnOtherAccount::Replace => tables.start_anew(team, now),
            }
        }
        if let Some(row) = tables.teams.get_mut(&team) {
            row.key = Some(Key { secret: key, set_at: now });
            row.owner_uid = Some(owner_uid);
            row.auth = None;
        }
        tables.begin_with_key(team, now);
        Ok(())
    }

    async fn erase(&self, team: TeamId) -> PortResult<()> {
        let mut tables = self.tables();
        let row = tables.teams.get_mut(&team).ok_or_else(|| no_team(team))?;
        row.key = None;
        Ok(())
    }

    async fn due_probes(&self, limit: u32, again_in: Duration) -> PortResult<Vec<TeamId>> {
        let (mut tables, now) = (self.tables(), self.now());
        // A team that people paused or took out of the rollout is left in peace.
        let rests = |id: &TeamId| matches!(tables.resting(*id), Some(Resting::Auth(_)));
        let mut due: Vec<_> = tables
            .teams
            .iter()
            .filter(|(id, _)| rests(id))
            .filter_map(|(id, team)| Some((team.auth.as_ref()?.next_probe_at, *id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        for (_, id) in &due {
            if let Some(auth) = tables.teams.get_mut(id).and_then(|team| team.auth.as_mut()) {
                auth.next_probe_at = now + again_in;
            }
        }
        Ok(due.into_iter().map(|(_, id)| id).collect())
    }

    async fn refused_again(&self, team: TeamId, again_in: Duration) -> PortResult<()> {
        let (mut tables, now) = (self.tables(), self.now());
        if let Some(auth) = tables.teams.get_mut(&team).and_then(|row| row.auth.as_mut()) {
            auth.next_probe_at = now + again_in;
        }
        Ok(())
    }

    async fn accepted(&self, team: TeamId) -> PortResult<bool> {
        let (mut tables, now) = (self.tables(), self.now());
        let row = tables.teams.get_mut(&team).ok_or_else(|| no_team(team))?;
        let cleared = row.auth.take().is_some();
        if cleared {
            tables.begin_with_key(team, now);
        }
        Ok(cleared)
    }

    async fn describe(&self, team: TeamId) -> PortResult<Option<CredentialInfo>> {
        let tables = self.tables();
        let row = tables.team(team).ok_or_else(|| no_team(team))?;
        Ok(row.key.as_ref().map(|key| CredentialInfo {
            key_id: "memory".to_owned(),
            set_at: key.set_at,
            owner_uid: row.owner_uid.unwrap_or_default(),
        }))
    }
}
