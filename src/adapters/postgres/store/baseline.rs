//! What the mirror holds, as far as planning needs it.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use vz_sync_actors::domain::baseline::{HoldState, StoredHold};
use vz_sync_actors::domain::{
    Baseline, DataType, ExternalId, Fence, HoldId, RawVersion, RowFlags, Scope, ScopeKey,
    SourceVersion, StoredRow, TeamId,
};
use vz_sync_actors::ports::store::ArchivedSite;

use super::super::error::Fault;
use super::PgStore;
use super::db::{read, word};

const ENVIRONMENTS: &str = include_str!("../sql/baseline_environments.sql");
const NODES: &str = include_str!("../sql/baseline_nodes.sql");
const HOLDS: &str = include_str!("../sql/baseline_holds.sql");
const BODY: &str = include_str!("../sql/baseline_body.sql");
const ARCHIVE_WORK: &str = include_str!("../sql/archive_work.sql");

impl PgStore {
    pub(super) async fn try_baseline(&self, key: ScopeKey) -> Result<Baseline, Fault> {
        let mut baseline = Baseline::default();
        let primary = key.scope.data_types()[0];
        if key.scope == Scope::Environments {
            baseline.environments = self.stored_rows(ENVIRONMENTS, key.team).await?;
            baseline.nodes = self.stored_rows(NODES, key.team).await?;
            let rows = read(&self.pools.pipeline, HOLDS, &[&key.team.0]).await?;
            baseline.holds = rows.iter().map(hold).collect::<Result<_, _>>()?;
        }
        let rows = read(&self.pools.pipeline, BODY, &[&key.team.0, &primary.as_str()]).await?;
        baseline.body = match rows.first() {
            None => None,
            Some(row) => raw(row.try_get("body_hash")?)?,
        };
        Ok(baseline)
    }

    /// Streams the rows of a table: a big team's are never all in memory twice.
    async fn stored_rows(
        &self,
        sql: &str,
        team: TeamId,
    ) -> Result<HashMap<ExternalId, StoredRow>, Fault> {
        let client = self.pools.pipeline.get().await?;
        let statement = client.prepare_cached(sql).await?;
        let params: [&(dyn ToSql + Sync); 1] = [&team.0];
        let stream = client.query_raw(&statement, params).await?;
        let mut stream = std::pin::pin!(stream);
        let mut rows = HashMap::new();
        while let Some(row) = stream.try_next().await? {
            let id: &str = row.try_get("id")?;
            rows.insert(ExternalId::from(id), stored(&row)?);
        }
        Ok(rows)
    }

    pub(super) async fn try_payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> Result<Vec<(ExternalId, Box<str>)>, Fault> {
        let sql = format!(
            "SELECT id, payload::text AS payload FROM {data_type} WHERE team_id = $1 AND id = ANY ($2::text[])"
        );
        let ids: Vec<&str> = ids.iter().map(ExternalId::as_str).collect();
        let rows = read(&self.pools.pipeline, &sql, &[&team.0, &ids]).await?;
        rows.iter()
            .map(|row| {
                let (id, payload): (&str, &str) = (row.try_get("id")?, row.try_get("payload")?);
                Ok((ExternalId::from(id), payload.into()))
            })
            .collect()
    }

    pub(super) async fn try_known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> Result<Vec<(ExternalId, SourceVersion)>, Fault> {
        let sql = format!(
            "SELECT id, source_version FROM {data_type} WHERE team_id = $1 AND id = ANY ($2::text[])"
        );
        let ids: Vec<&str> = ids.iter().map(ExternalId::as_str).collect();
        let rows = read(&self.pools.pipeline, &sql, &[&team.0, &ids]).await?;
        rows.iter()
            .map(|row| {
                let id: &str = row.try_get("id")?;
                Ok((ExternalId::from(id), SourceVersion(digest(row.try_get("source_version")?)?)))
            })
            .collect()
    }

    pub(super) async fn try_archive_work(
        &self,
        team: TeamId,
        limit: u32,
    ) -> Result<Vec<ArchivedSite>, Fault> {
        let rows = read(&self.pools.pipeline, ARCHIVE_WORK, &[&team.0, &i64::from(limit)]).await?;
        rows.iter()
            .map(|row| {
                let id: &str = row.try_get("id")?;
                Ok(ArchivedSite {
                    id: ExternalId::from(id),
                    env_name: row.try_get("env_name")?,
                    archived_at: row.try_get("archived_at")?,
                    annotated: row.try_get("annotated")?,
                    probed_at: row.try_get("last_probe_at")?,
                })
            })
            .collect()
    }
}

fn stored(row: &Row) -> Result<StoredRow, Fault> {
    let outline: Option<&[u8]> = row.try_get("outline_version")?;
    let parent: Option<&str> = row.try_get("parent")?;
    Ok(StoredRow {
        source_version: SourceVersion(digest(row.try_get("source_version")?)?),
        raw_version: raw(row.try_get("raw_version")?)?,
        fence: Fence(row.try_get("fence")?),
        outline_version: outline.map(digest).transpose()?.map(SourceVersion),
        parent: parent.map(ExternalId::from),
        env_name: row.try_get("env_name")?,
        status: row.try_get("status")?,
        flags: RowFlags {
            missing_since: row.try_get("missing_since")?,
            stale: row.try_get("stale")?,
            needs_validation: row.try_get("needs_validation")?,
            held: row.try_get("held")?,
            quarantined: row.try_get("quarantined")?,
        },
    })
}

fn hold(row: &Row) -> Result<StoredHold, Fault> {
    let items: Vec<&str> = row.try_get("items")?;
    let agreeing: i32 = row.try_get("agreeing_listings")?;
    let state = match row.try_get("state")? {
        "held" => HoldState::Held,
        "released" => HoldState::Released,
        "rejected" => HoldState::Rejected,
        _ => HoldState::Expired,
    };
    Ok(StoredHold {
        id: HoldId(row.try_get("id")?),
        data_type: word(row, "data_type")?,
        state,
        items: items.into_iter().map(ExternalId::from).collect(),
        agreeing_listings: agreeing.max(0) as u32,
        created_at: row.try_get("created_at")?,
        counted_at: row.try_get("counted_at")?,
        decided_at: row.try_get("decided_at")?,
    })
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], Fault> {
    bytes.try_into().map_err(|_| Fault::unreadable("a stored version is not 32 bytes long"))
}

fn raw(bytes: Option<&[u8]>) -> Result<Option<RawVersion>, Fault> {
    Ok(bytes.map(digest).transpose()?.map(RawVersion))
}
