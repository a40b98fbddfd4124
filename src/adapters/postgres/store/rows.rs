//! Upserts of an apply, inline or staged. The arrays of an inline one are
//! taken apart again by `unnest`: one statement, whatever the number of rows.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio_postgres::types::ToSql;
use vz_sync_actors::domain::item::{Columns, EnvironmentColumns, JobLogColumns, NodeColumns};
use vz_sync_actors::domain::{DataType, ExternalId, Fence, Item, RunId, TeamId};
use vz_sync_actors::ports::store::Upsert;

use super::super::error::Fault;
use super::db::{JsonText, Tx, array_literal};

macro_rules! statement {
    ($rows:literal, $upsert:literal) => {
        concat!(
            include_str!(concat!("../sql/", $rows, ".sql")),
            include_str!(concat!("../sql/", $upsert, ".sql"))
        )
    };
}

const INLINE_ENVIRONMENTS: &str = statement!("rows_inline_environments", "upsert_environments");
const INLINE_NODES: &str = statement!("rows_inline_nodes", "upsert_nodes");
const INLINE_JOB_LOGS: &str = statement!("rows_inline_job_logs", "upsert_job_logs");
const STAGED_ENVIRONMENTS: &str = statement!("rows_staged", "upsert_environments");
const STAGED_NODES: &str = statement!("rows_staged", "upsert_nodes");
const STAGED_JOB_LOGS: &str = statement!("rows_staged", "upsert_job_logs");

/// What every row of an apply gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) team: TeamId,
    pub(super) fence: Fence,
    pub(super) sent: OffsetDateTime,
}

/// Writes the rows that the run staged.
pub(super) async fn flip(
    tx: &Tx<'_>,
    stamp: Stamp,
    run: RunId,
    data_type: DataType,
) -> Result<u64, Fault> {
    let sql = match data_type {
        DataType::Environments => STAGED_ENVIRONMENTS,
        DataType::Nodes => STAGED_NODES,
        DataType::JobLogs => STAGED_JOB_LOGS,
        DataType::ArchivedSites => return Ok(0),
    };
    let Stamp { team, fence, sent } = stamp;
    tx.execute(sql, &[&team.0, &fence.0, &sent, &run.0, &data_type.as_str()]).await
}

/// Writes rows that came with the apply.
pub(super) async fn upsert(
    tx: &Tx<'_>,
    stamp: Stamp,
    data_type: DataType,
    upserts: &[&Upsert],
) -> Result<u64, Fault> {
    match data_type {
        DataType::Environments => environments(tx, stamp, upserts).await,
        DataType::Nodes => nodes(tx, stamp, upserts).await,
        DataType::JobLogs => job_logs(tx, stamp, upserts).await,
        // Its rows are made from environments by the apply itself.
        DataType::ArchivedSites => Ok(0),
    }
}

/// One row an id: a statement may not touch a row twice, and the last wins.
pub(super) fn last_wins(upserts: &[Upsert]) -> Vec<&Upsert> {
    let mut last: HashMap<&ExternalId, &Upsert> = HashMap::with_capacity(upserts.len());
    for upsert in upserts {
        last.insert(&upsert.item.id, upsert);
    }
    let mut kept: Vec<&Upsert> = last.into_values().collect();
    kept.sort_unstable_by(|a, b| a.item.id.cmp(&b.item.id));
    kept
}

/// What the columns of all tables have in common.
struct Shared<'a> {
    ids: Vec<&'a str>,
    payloads: Vec<JsonText<'a>>,
    versions: Vec<&'a [u8]>,
    raw_versions: Vec<Option<&'a [u8]>>,
}

fn shared<'a>(items: &[&'a Item]) -> Shared<'a> {
    Shared {
        ids: items.iter().map(|item| item.id.as_str()).collect(),
        payloads: items.iter().map(|item| JsonText(&item.payload)).collect(),
        versions: items.iter().map(|item| item.source_version.0.as_slice()).collect(),
        raw_versions: items
            .iter()
            .map(|item| item.raw_version.as_ref().map(|raw| raw.0.as_slice()))
            .collect(),
    }
}

/// One column out of many rows.
fn column<'a, C, T>(rows: &[&'a C], of: impl Fn(&'a C) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

async fn environments(tx: &Tx<'_>, stamp: Stamp, upserts: &[&Upsert]) -> Result<u64, Fault> {
    let (items, rows): (Vec<&Item>, Vec<&EnvironmentColumns>) = upserts
        .iter()
        .filter_map(|upsert| match &upsert.item.columns {
            Columns::Environment(columns) => Some((&upsert.item, columns.as_ref())),
            _ => None,
        })
        .unzip();
    if rows.is_empty() {
        return Ok(0);
    }
    let Shared { ids, payloads, versions, raw_versions } = shared(&items);
    let outlines: Vec<Option<&[u8]>> = items
        .iter()
        .map(|item| item.outline_version.as_ref().map(|version| version.0.as_slice()))
        .collect();
    let params: [&(dyn ToSql + Sync); 20] = [
        &stamp.team.0,
        &stamp.fence.0,
        &stamp.sent,
        &ids,
        &column(&rows, |row| &row.env_name),
        &column(&rows, |row| &row.short_domain),
        &column(&rows, |row| &row.domain),
        &column(&rows, |row| &row.display_name),
        &column(&rows, |row| row.status),
        &column(&rows, |row| row.owner_uid),
        &column(&rows, |row| row.creator_uid),
        &column(&rows, |row| &row.region),
        &column(&rows, |row| array_literal(&row.groups)),
        &column(&rows, |row| row.ha),
        &column(&rows, |row| row.ssl),
        &column(&rows, |row| row.created_on),
        &outlines,
        &payloads,
        &versions,
        &raw_versions,
    ];
    tx.execute(INLINE_ENVIRONMENTS, &params).await
}

async fn nodes(tx: &Tx<'_>, stamp: Stamp, upserts: &[&Upsert]) -> Result<u64, Fault> {
    let (items, rows): (Vec<&Item>, Vec<&NodeColumns>) = upserts
        .iter()
        .filter_map(|upsert| match &upsert.item.columns {
            Columns::Node(columns) => Some((&upsert.item, columns.as_ref())),
            _ => None,
        })
        .unzip();
    if rows.is_empty() {
        return Ok(0);
    }
    let Shared { ids, payloads, versions, raw_versions } = shared(&items);
    let params: [&(dyn ToSql + Sync); 21] = [
        &stamp.team.0,
        &stamp.fence.0,
        &stamp.sent,
        &ids,
        &column(&rows, |row| row.environment.as_str()),
        &column(&rows, |row| &row.env_name),
        &column(&rows, |row| &row.node_group),
        &column(&rows, |row| &row.node_type),
        &column(&rows, |row| &row.name),
        &column(&rows, |row| &row.display_name),
        &column(&rows, |row| row.status),
        &column(&rows, |row| row.is_master),
        &column(&rows, |row| &row.int_ip),
        &column(&rows, |row| array_literal(&row.ext_ips)),
        &column(&rows, |row| &row.version),
        &column(&rows, |row| row.fixed_cloudlets),
        &column(&rows, |row| row.flexible_cloudlets),
        &column(&rows, |row| row.disk_limit_mb),
        &payloads,
        &versions,
        &raw_versions,
    ];
    tx.execute(INLINE_NODES, &params).await
}

async fn job_logs(tx: &Tx<'_>, stamp: Stamp, upserts: &[&Upsert]) -> Result<u64, Fault> {
    let (items, rows): (Vec<&Item>, Vec<&JobLogColumns>) = upserts
        .iter()
        .filter_map(|upsert| match &upsert.item.columns {
            Columns::JobLog(columns) => Some((&upsert.item, columns.as_ref())),
            _ => None,
        })
        .unzip();
    if rows.is_empty() {
        return Ok(0);
    }
    let Shared { ids, payloads, versions, raw_versions } = shared(&items);
    let params: [&(dyn ToSql + Sync); 15] = [
        &stamp.team.0,
        &stamp.fence.0,
        &stamp.sent,
        &ids,
        &column(&rows, |row| row.environment.as_ref().map(ExternalId::as_str)),
        &column(&rows, |row| &row.env_name),
        &column(&rows, |row| &row.action),
        &column(&rows, |row| row.result),
        &column(&rows, |row| row.started_at),
        &column(&rows, |row| row.finished_at),
        &column(&rows, |row| row.uid),
        &column(&rows, |row| &row.login),
        &payloads,
        &versions,
        &raw_versions,
    ];
    tx.execute(INLINE_JOB_LOGS, &params).await
}
