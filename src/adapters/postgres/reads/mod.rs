//! The reads port: the mirror and the pipeline's state as readers get them.
//!
//! Every statement names the team, and answers nothing for a removed one.
//! One statement per question: a page of items is one round trip. Deliberately
//! absent: any cache; the planner's statements are kept, answers are not.

mod job;
mod page;
mod status;
mod table;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use vz_sync_actors::domain::{DataType, EventNo, ExternalId, HoldId, JobId, Scope, TeamId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::reads::{
    ChangeQuery, ChangeRow, FreshnessFacts, HoldRow, ItemQuery, ItemRow, JobRow, Page, Reads,
    ScopeStatus, Staleness, TeamSummary,
};

use super::call::{connection, get, moment, prepare, row, rows, word};
use super::error::judged;

const SCOPE_STATUS: &str = include_str!("../sql/scope_status.sql");
const TEAM_COUNTS: &str = include_str!("../sql/team_counts.sql");
const JOBS: &str = include_str!("../sql/jobs.sql");
const CHANGES: &str = include_str!("../sql/changes.sql");
const UNDO_SINCE: &str = include_str!("../sql/undo_since.sql");
const HOLDS: &str = include_str!("../sql/holds.sql");
const STALENESS: &str = include_str!("../sql/staleness.sql");

/// Answers questions from Postgres.
#[derive(Debug, Clone)]
pub struct PgReads {
    pool: Pool,
    dead_after: Duration,
    changes_kept: Duration,
    pipeline: bool,
}

impl PgReads {
    /// Reads through `pool`. A lease whose owner was silent for `dead_after` is
    /// not shown; change rows are trusted to be whole for `changes_kept`.
    pub const fn new(pool: Pool, dead_after: Duration, changes_kept: Duration) -> Self {
        Self { pool, dead_after, changes_kept, pipeline: true }
    }

    /// Where the pipeline of this process is off, every team takes no part.
    pub const fn pipeline(mut self, on: bool) -> Self {
        self.pipeline = on;
        self
    }

    async fn status_rows(&self, teams: &[TeamId]) -> PortResult<Vec<Row>> {
        let teams = numbers(teams);
        let dead_after = self.dead_after.as_secs_f64();
        rows(&self.pool, SCOPE_STATUS, &[&teams, &dead_after, &self.pipeline]).await
    }

    /// Rows of a table that satisfy one more condition over `$2`.
    async fn matching(
        &self,
        team: TeamId,
        data_type: DataType,
        condition: &str,
        value: &(dyn ToSql + Sync),
    ) -> PortResult<Vec<Row>> {
        let sql = format!("{}{condition}", table::of(data_type).select);
        rows(&self.pool, &sql, &[&team.0, value]).await
    }
}

#[async_trait]
impl Reads for PgReads {
    async fn teams(&self, teams: &[TeamId]) -> PortResult<Vec<TeamSummary>> {
        let ids = numbers(teams);
        let params: [&(dyn ToSql + Sync); 1] = [&ids];
        let (status, counts) =
            tokio::try_join!(self.status_rows(teams), rows(&self.pool, TEAM_COUNTS, &params))?;
        let mut summaries: Vec<TeamSummary> = Vec::new();
        for row in &status {
            let id = TeamId(get(row, "team_id")?);
            if summaries.last().is_none_or(|last| last.id != id) {
                summaries.push(TeamSummary {
                    id,
                    name: get(row, "team_name")?,
                    environments_by_status: HashMap::new(),
                    nodes: 0,
                    freshness: Vec::new(),
                    resting: status::team_resting(row)?,
                });
            }
            if let (Some(summary), Some(facts)) = (summaries.last_mut(), status::freshness(row)?) {
                summary.freshness.push(facts);
            }
        }
        for row in &counts {
            let id = TeamId(get(row, "team_id")?);
            let Some(summary) = summaries.iter_mut().find(|summary| summary.id == id) else {
                continue;
            };
            let Json(by_status): Json<HashMap<i32, u64>> = get(row, "environments_by_status")?;
            summary.environments_by_status = by_status;
            summary.nodes = get::<i64>(row, "nodes")?.unsigned_abs();
        }
        summaries.sort_by_key(|summary| teams.iter().position(|asked| *asked == summary.id));
        for summary in &mut summaries {
            summary.freshness.sort_by_key(|facts| facts.data_type);
        }
        Ok(summaries)
    }

    async fn scopes(&self, team: TeamId) -> PortResult<Option<Vec<ScopeStatus>>> {
        let rows = self.status_rows(&[team]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut scopes = Vec::with_capacity(Scope::ALL.len());
        for row in &rows {
            scopes.extend(status::read(row)?);
        }
        scopes.sort_by_key(|status| status.key);
        scopes.dedup_by_key(|status| status.key);
        Ok(Some(scopes))
    }

    async fn freshness(
        &self,
        team: TeamId,
        data_types: &[DataType],
    ) -> PortResult<Vec<FreshnessFacts>> {
        let mut facts = Vec::with_capacity(data_types.len());
        for row in &self.status_rows(&[team]).await? {
            facts.extend(status::freshness(row)?.filter(|f| data_types.contains(&f.data_type)));
        }
        facts.sort_by_key(|facts| data_types.iter().position(|asked| *asked == facts.data_type));
        Ok(facts)
    }

    async fn items(&self, query: &ItemQuery) -> PortResult<Page<ItemRow>> {
        let Some(statement) = page::statement(query)? else {
            return Ok(Page { rows: Vec::new(), next: None });
        };
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&query.team.0];
        params.extend(statement.params.iter().map(|value| &**value as &(dyn ToSql + Sync)));
        let client = connection(&self.pool).await?;
        let prepared = if statement.common {
            prepare(&client, &statement.sql).await?
        } else {
            client.prepare(&statement.sql).await.map_err(|error| judged(&error))?
        };
        let rows = client.query(&prepared, &params).await.map_err(|error| judged(&error))?;
        drop(client);
        let size = page::page_size(query) as usize;
        let page = rows.iter().take(size).map(item).collect::<PortResult<Vec<_>>>()?;
        let next = match page.last() {
            Some(last) if rows.len() > size => Some(page::cursor(query, last)?),
            _ => None,
        };
        Ok(Page { rows: page, next })
    }

    async fn item(
        &self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
    ) -> PortResult<Option<ItemRow>> {
        if id.as_str().contains('\0') {
            return Ok(None);
        }
        let rows = self.matching(team, data_type, "  AND r.id = $2", &id.as_str()).await?;
        rows.first().map(item).transpose()
    }

    async fn nodes_of(
        &self,
        team: TeamId,
        environments: &[ExternalId],
        include_stale: bool,
    ) -> PortResult<HashMap<ExternalId, Vec<ItemRow>>> {
        let condition = if include_stale {
            "  AND r.environment_id = ANY ($2::text[])\nORDER BY r.environment_id, r.id"
        } else {
            "  AND r.environment_id = ANY ($2::text[]) AND NOT r.stale\nORDER BY r.environment_id, r.id"
        };
        let ids: Vec<&str> =
            environments.iter().map(ExternalId::as_str).filter(|id| !id.contains('\0')).collect();
        let mut nodes: HashMap<ExternalId, Vec<ItemRow>> =
            environments.iter().map(|id| (id.clone(), Vec::new())).collect();
        for row in &self.matching(team, DataType::Nodes, condition, &ids).await? {
            let node = item(row)?;
            let parent: Parent<'_> = serde_json::from_str(&node.columns).map_err(|error| {
                super::call::refused(format!("columns of {}: {error}", node.id))
            })?;
            if let Some(nodes) = nodes.get_mut(&*parent.environment_id) {
                nodes.push(node);
            }
        }
        Ok(nodes)
    }

    async fn jobs(
        &self,
        team: TeamId,
        scope: Option<Scope>,
        before: Option<JobId>,
        limit: u32,
    ) -> PortResult<Vec<JobRow>> {
        let (scope, before) = (scope.map(Scope::as_str), before.map(|job| job.0));
        let limit = i64::from(limit);
        let found =
            rows(&self.pool, JOBS, &[&team.0, &scope, &before, &limit, &None::<i64>]).await?;
        found.iter().filter_map(|row| job::read(row, "").transpose()).collect()
    }

    async fn job(&self, team: TeamId, job: JobId) -> PortResult<Option<JobRow>> {
        let (scope, before) = (None::<&str>, None::<i64>);
        let found =
            row(&self.pool, JOBS, &[&team.0, &scope, &before, &1_i64, &Some(job.0)]).await?;
        found.map_or(Ok(None), |row| job::read(&row, ""))
    }

    async fn changes(&self, query: &ChangeQuery) -> PortResult<Vec<ChangeRow>> {
        let id = query.id.as_ref().map(ExternalId::as_str);
        if id.is_some_and(|id| id.contains('\0')) {
            return Ok(Vec::new());
        }
        let data_type = query.data_type.map(DataType::as_str);
        let limit = i64::from(query.limit);
        let found =
            rows(&self.pool, CHANGES, &[&query.team.0, &query.after, &data_type, &id, &limit])
                .await?;
        found.iter().map(change).collect()
    }

    async fn undo_since(
        &self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
        at: OffsetDateTime,
    ) -> PortResult<Option<Vec<ChangeRow>>> {
        if id.as_str().contains('\0') {
            return Ok(Some(Vec::new()));
        }
        let kept = self.changes_kept.as_secs_f64();
        let found =
            rows(&self.pool, UNDO_SINCE, &[&team.0, &data_type.as_str(), &id.as_str(), &at, &kept])
                .await?;
        let complete = found.first().map_or(Ok(false), |row| get(row, "complete"))?;
        if !complete {
            return Ok(None);
        }
        let mut changes = Vec::with_capacity(found.len());
        for row in &found {
            if get::<Option<i64>>(row, "id")?.is_some() {
                changes.push(change(row)?);
            }
        }
        Ok(Some(changes))
    }

    async fn holds(&self, team: TeamId, all: bool) -> PortResult<Vec<HoldRow>> {
        let found = rows(&self.pool, HOLDS, &[&team.0, &all]).await?;
        found.iter().map(hold).collect()
    }

    async fn staleness(&self, limit: u32) -> PortResult<Vec<Staleness>> {
        let found = rows(&self.pool, STALENESS, &[&i64::from(limit)]).await?;
        found
            .iter()
            .map(|row| {
                let age: Option<f64> = get(row, "age")?;
                let allowed: i32 = get(row, "allowed_seconds")?;
                Ok(Staleness {
                    team: TeamId(get(row, "team_id")?),
                    data_type: word(row, "data_type")?,
                    age: age.map(|age| Duration::from_secs_f64(age.max(0.0))),
                    max_allowed: Duration::from_secs(u64::from(allowed.unsigned_abs())),
                })
            })
            .collect()
    }
}

/// The one column of a node that tells whose it is.
#[derive(serde::Deserialize)]
struct Parent<'a> {
    #[serde(borrow)]
    environment_id: std::borrow::Cow<'a, str>,
}

fn numbers(teams: &[TeamId]) -> Vec<i64> {
    teams.iter().map(|team| team.0).collect()
}

fn item(row: &Row) -> PortResult<ItemRow> {
    Ok(ItemRow {
        id: get::<&str>(row, "id")?.into(),
        columns: get::<&str>(row, "columns")?.into(),
        payload: get::<&str>(row, "payload")?.into(),
        source_version: get(row, "source_version")?,
        synced_at: get(row, "synced_at")?,
        first_seen_at: get(row, "first_seen_at")?,
        stale: get(row, "stale")?,
        stale_since: moment(row, "stale_since")?,
        missing_since: moment(row, "missing_since")?,
        needs_validation: get(row, "needs_validation")?,
    })
}

fn change(row: &Row) -> PortResult<ChangeRow> {
    Ok(ChangeRow {
        id: get(row, "id")?,
        data_type: word(row, "data_type")?,
        external_id: get::<&str>(row, "external_id")?.into(),
        op: get(row, "op")?,
        patch: get(row, "patch")?,
        undo: get(row, "undo")?,
        job_id: JobId(get(row, "job_id")?),
        event_no: EventNo(get(row, "event_no")?),
        found_at: get(row, "found_at")?,
    })
}

fn hold(row: &Row) -> PortResult<HoldRow> {
    Ok(HoldRow {
        id: HoldId(get(row, "id")?),
        data_type: word(row, "data_type")?,
        state: get(row, "state")?,
        reason: get(row, "reason")?,
        items: get::<Vec<&str>>(row, "items")?.into_iter().map(ExternalId::from).collect(),
        of: get::<i64>(row, "rows_before")?.unsigned_abs(),
        agreeing_listings: get::<i32>(row, "agreeing_listings")?.unsigned_abs(),
        created_at: get(row, "created_at")?,
        decided_at: moment(row, "decided_at")?,
        decided_by: get(row, "decided_by")?,
    })
}
