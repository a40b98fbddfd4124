//! Rows put aside during the download: binary COPY into the unlogged staging
//! table, over a pool of its own and several connections at once.
//!
//! Staged rows are nobody's until an apply flips them. Those of a run that
//! ended otherwise are removed here, or by the janitor when this process dies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Object;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use vz_sync_actors::domain::item::Columns;
use vz_sync_actors::domain::plan::UpsertKind;
use vz_sync_actors::domain::{DataType, RunId};
use vz_sync_actors::ports::store::{LeaseRef, Upsert};

use super::super::error::Fault;
use super::PgStore;
use super::db::JsonText;

const FORGET: &str = "DELETE FROM sync_staging WHERE lease_run = $1";

/// Columns that every staged row has, before those of its table.
const COMMON: [(&str, Type); 10] = [
    ("lease_run", Type::UUID),
    ("data_type", Type::TEXT),
    ("seq", Type::INT8),
    ("team_id", Type::INT8),
    ("id", Type::TEXT),
    ("kind", Type::TEXT),
    ("payload", Type::JSONB),
    ("source_version", Type::BYTEA),
    ("patch", Type::JSONB),
    ("undo", Type::JSONB),
];

const ENVIRONMENTS: [(&str, Type); 14] = [
    ("raw_version", Type::BYTEA),
    ("outline_version", Type::BYTEA),
    ("env_name", Type::TEXT),
    ("short_domain", Type::TEXT),
    ("domain", Type::TEXT),
    ("display_name", Type::TEXT),
    ("status", Type::INT4),
    ("owner_uid", Type::INT8),
    ("creator_uid", Type::INT8),
    ("region", Type::TEXT),
    ("groups", Type::TEXT_ARRAY),
    ("ha", Type::BOOL),
    ("ssl", Type::BOOL),
    ("created_on", Type::TIMESTAMPTZ),
];

const NODES: [(&str, Type); 15] = [
    ("raw_version", Type::BYTEA),
    ("environment_id", Type::TEXT),
    ("env_name", Type::TEXT),
    ("node_group", Type::TEXT),
    ("node_type", Type::TEXT),
    ("name", Type::TEXT),
    ("display_name", Type::TEXT),
    ("status", Type::INT4),
    ("is_master", Type::BOOL),
    ("int_ip", Type::TEXT),
    ("ext_ips", Type::TEXT_ARRAY),
    ("version", Type::TEXT),
    ("fixed_cloudlets", Type::INT4),
    ("flexible_cloudlets", Type::INT4),
    ("disk_limit_mb", Type::INT8),
];

const JOB_LOGS: [(&str, Type); 9] = [
    ("raw_version", Type::BYTEA),
    ("environment_id", Type::TEXT),
    ("env_name", Type::TEXT),
    ("action", Type::TEXT),
    ("result", Type::INT4),
    ("started_at", Type::TIMESTAMPTZ),
    ("finished_at", Type::TIMESTAMPTZ),
    ("user_uid", Type::INT8),
    ("user_login", Type::TEXT),
];

/// The runs of this process that have staged anything.
#[derive(Debug, Default)]
pub(super) struct StagedRuns {
    next: AtomicI64,
    /// Whether any staged row brings a change row with it.
    runs: Mutex<HashMap<RunId, bool>>,
}

impl StagedRuns {
    /// Notes a call; answers the place of its first row in the order of all.
    pub(super) fn note(&self, run: RunId, rows: &[Upsert]) -> i64 {
        let told = rows.iter().any(|row| row.change.is_some() || row.kind == UpsertKind::Return);
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs.entry(run).or_default() |= told;
        self.next.fetch_add(rows.len() as i64, Ordering::Relaxed)
    }

    /// Whether change rows may come of what the run staged. A run that this
    /// process knows nothing of is looked up in the table.
    pub(super) fn tells(&self, run: RunId) -> bool {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(&run).copied().unwrap_or(true)
    }

    fn forget(&self, run: RunId) -> bool {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.remove(&run).is_some()
    }
}

impl PgStore {
    pub(super) async fn try_stage(
        &self,
        lease: &LeaseRef,
        first: i64,
        rows: &[Upsert],
    ) -> Result<(), Fault> {
        let client = self.pools.staging.get().await?;
        for data_type in DataType::ALL {
            let ours: Vec<(i64, &Upsert)> =
                (first..).zip(rows).filter(|(_, row)| row.item.data_type() == data_type).collect();
            if !ours.is_empty() {
                copy(&client, lease, data_type, &ours).await?;
            }
        }
        Ok(())
    }

    /// Removes what a run staged that has ended, without making anybody wait.
    pub(super) fn forget_staged(&self, run: RunId) {
        if !self.staged.forget(run) {
            return;
        }
        let pool = self.pools.staging.clone();
        tokio::spawn(async move {
            // Best effort: the janitor sweeps what this leaves.
            let Ok(client) = pool.get().await else { return };
            let Ok(statement) = client.prepare_cached(FORGET).await else { return };
            let _ = client.execute(&statement, &[&run.0]).await;
        });
    }
}

async fn copy(
    client: &Object,
    lease: &LeaseRef,
    data_type: DataType,
    rows: &[(i64, &Upsert)],
) -> Result<(), Fault> {
    let own: &[(&str, Type)] = match data_type {
        DataType::Nodes => &NODES,
        DataType::JobLogs => &JOB_LOGS,
        DataType::Environments | DataType::ArchivedSites => &ENVIRONMENTS,
    };
    let columns: Vec<&str> = COMMON.iter().chain(own).map(|(name, _)| *name).collect();
    let types: Vec<Type> = COMMON.iter().chain(own).map(|(_, kind)| kind.clone()).collect();
    let sql = format!("COPY sync_staging ({}) FROM STDIN (FORMAT binary)", columns.join(", "));
    let statement = client.prepare_cached(&sql).await?;
    let sink = client.copy_in(&statement).await?;
    let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &types));
    for (seq, row) in rows {
        let item = &row.item;
        let (kind, name) = (kind_word(row.kind), data_type.as_str());
        let (id, payload) = (item.id.as_str(), JsonText(&item.payload));
        let version: &[u8] = &item.source_version.0;
        let raw: Option<&[u8]> = item.raw_version.as_ref().map(|raw| raw.0.as_slice());
        let outline: Option<&[u8]> = item.outline_version.as_ref().map(|v| v.0.as_slice());
        let patch = row.change.as_ref().map(|change| JsonText(&change.patch));
        let undo = row.change.as_ref().map(|change| JsonText(&change.undo));
        let parent = item.parent().map(vz_sync_actors::domain::ExternalId::as_str);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![
            &lease.run.0,
            &name,
            seq,
            &lease.key.team.0,
            &id,
            &kind,
            &payload,
            &version,
            &patch,
            &undo,
            &raw,
        ];
        match &item.columns {
            Columns::Environment(of) => values.extend([
                &outline as &(dyn ToSql + Sync),
                &of.env_name,
                &of.short_domain,
                &of.domain,
                &of.display_name,
                &of.status,
                &of.owner_uid,
                &of.creator_uid,
                &of.region,
                &of.groups,
                &of.ha,
                &of.ssl,
                &of.created_on,
            ]),
            Columns::Node(of) => values.extend([
                &parent as &(dyn ToSql + Sync),
                &of.env_name,
                &of.node_group,
                &of.node_type,
                &of.name,
                &of.display_name,
                &of.status,
                &of.is_master,
                &of.int_ip,
                &of.ext_ips,
                &of.version,
                &of.fixed_cloudlets,
                &of.flexible_cloudlets,
                &of.disk_limit_mb,
            ]),
            Columns::JobLog(of) => values.extend([
                &parent as &(dyn ToSql + Sync),
                &of.env_name,
                &of.action,
                &of.result,
                &of.started_at,
                &of.finished_at,
                &of.uid,
                &of.login,
            ]),
        }
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    Ok(())
}

fn kind_word(kind: UpsertKind) -> &'static str {
    match kind {
        UpsertKind::Insert => "insert",
        UpsertKind::Update => "update",
        UpsertKind::Return => "return",
    }
}
