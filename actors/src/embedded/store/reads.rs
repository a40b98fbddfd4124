//! The queries behind the public API.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::MemoryStore;
use super::status::job_row;
use crate::domain::baseline::HoldState;
use crate::domain::{DataType, ExternalId, JobId, Scope, TeamId};
use crate::ports::PortResult;
use crate::ports::reads::{
    ChangeQuery, ChangeRow, FreshnessFacts, HoldRow, ItemQuery, ItemRow, JobRow, Page, Reads,
    ScopeStatus, Staleness, TeamSummary,
};

#[async_trait]
impl Reads for MemoryStore {
    async fn teams(&self, teams: &[TeamId]) -> PortResult<Vec<TeamSummary>> {
        let (tables, now) = (self.tables(), self.now());
        Ok(teams.iter().filter_map(|team| tables.summary(*team, now)).collect())
    }

    async fn scopes(&self, team: TeamId) -> PortResult<Option<Vec<ScopeStatus>>> {
        Ok(self.tables().scopes(team, self.now()))
    }

    async fn freshness(
        &self,
        team: TeamId,
        data_types: &[DataType],
    ) -> PortResult<Vec<FreshnessFacts>> {
        let (tables, now) = (self.tables(), self.now());
        Ok(data_types.iter().filter_map(|table| tables.freshness(team, *table, now)).collect())
    }

    async fn items(&self, query: &ItemQuery) -> PortResult<Page<ItemRow>> {
        self.tables().items(query)
    }

    async fn item(
        &self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
    ) -> PortResult<Option<ItemRow>> {
        Ok(self.tables().item(team, data_type, id))
    }

    async fn nodes_of(
        &self,
        team: TeamId,
        environments: &[ExternalId],
        include_stale: bool,
    ) -> PortResult<HashMap<ExternalId, Vec<ItemRow>>> {
        let tables = self.tables();
        let nodes = |id: &ExternalId| tables.nodes_of(team, id, include_stale);
        Ok(environments.iter().map(|id| (id.clone(), nodes(id))).collect())
    }

    async fn jobs(
        &self,
        team: TeamId,
        scope: Option<Scope>,
        before: Option<JobId>,
        limit: u32,
    ) -> PortResult<Vec<JobRow>> {
        let tables = self.tables();
        let older = before.unwrap_or(JobId(i64::MAX));
        Ok(tables
            .jobs
            .range(..older)
            .rev()
            .filter(|(_, job)| job.key.team == team)
            .filter(|(_, job)| scope.is_none_or(|scope| job.key.scope == scope))
            .take(limit as usize)
            .map(|(id, job)| job_row(*id, job))
            .collect())
    }

    async fn job(&self, team: TeamId, job: JobId) -> PortResult<Option<JobRow>> {
        let tables = self.tables();
        let found = tables.jobs.get(&job).filter(|row| row.key.team == team);
        Ok(found.map(|row| job_row(job, row)))
    }

    async fn changes(&self, query: &ChangeQuery) -> PortResult<Vec<ChangeRow>> {
        let tables = self.tables();
        let rows = tables.changes.get(&query.team).into_iter().flatten();
        Ok(rows
            .filter(|row| row.id > query.after)
            .filter(|row| query.data_type.is_none_or(|table| row.data_type == table))
            .filter(|row| query.id.as_ref().is_none_or(|id| row.external_id == *id))
            .take(query.limit as usize)
            .cloned()
            .collect())
    }

    async fn undo_since(
        &self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
        at: OffsetDateTime,
    ) -> PortResult<Option<Vec<ChangeRow>>> {
        let tables = self.tables();
        if tables.changes_cut.get(&team).is_some_and(|cut| *cut > at) {
            return Ok(None);
        }
        let rows = tables.changes.get(&team).into_iter().flatten().rev();
        let newer = rows
            .filter(|row| row.data_type == data_type && row.external_id == *id)
            .filter(|row| row.found_at > at && row.undo.is_some());
        Ok(Some(newer.cloned().collect()))
    }

    async fn holds(&self, team: TeamId, all: bool) -> PortResult<Vec<HoldRow>> {
        let tables = self.tables();
        Ok(tables
            .holds
            .iter()
            .filter(|(_, hold)| hold.team == team && (all || hold.state == HoldState::Held))
            .map(|(id, hold)| HoldRow {
                id: *id,
                data_type: hold.data_type,
                state: hold.state.as_str().to_owned(),
                reason: hold.reason.clone(),
                items: hold.items.clone(),
                of: hold.of,
                agreeing_listings: hold.agreeing_listings,
                created_at: hold.created_at,
                decided_at: hold.decided.as_ref().map(|(at, _)| *at),
                decided_by: hold.decided.as_ref().map(|(_, by)| by.clone()),
            })
            .collect())
    }

    async fn staleness(&self, limit: u32) -> PortResult<Vec<Staleness>> {
        let (tables, now) = (self.tables(), self.now());
        let mut all: Vec<Staleness> = tables
            .verified
            .iter()
            .filter(|((team, _), _)| tables.team(*team).is_some())
            .map(|((team, data_type), verified)| Staleness {
                team: *team,
                data_type: *data_type,
                age: verified.at.map(|at| Duration::try_from(now - at).unwrap_or_default()),
                max_allowed: tables.max_age(*team, *data_type),
            })
            .collect();
        // Never verified is stalest of all.
        all.sort_by_key(|row| std::cmp::Reverse(row.age.map_or(Duration::MAX, |age| age)));
        all.truncate(limit as usize);
        Ok(all)
    }
}
