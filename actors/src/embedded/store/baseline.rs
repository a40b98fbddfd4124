//! What a run reads of the mirror before it plans, and where it puts rows
//! aside.

use std::collections::HashMap;

use super::apply::primary;
use super::apply_rows::parent_of;
use super::db::{Row, Tables};
use crate::domain::item::Columns;
use crate::domain::{
    Baseline, DataType, ExternalId, RowFlags, ScopeKey, SourceVersion, StoredRow, TeamId,
};
use crate::ports::store::{ArchivedSite, Upsert};

impl Tables {
    pub fn baseline(&self, key: ScopeKey) -> Baseline {
        let load = |data_type: DataType| -> HashMap<ExternalId, StoredRow> {
            if data_type.scope() != key.scope {
                return HashMap::new();
            }
            let rows = self.rows.get(&(key.team, data_type)).into_iter().flatten();
            rows.map(|(id, row)| (id.clone(), stored(row))).collect()
        };
        Baseline {
            environments: load(DataType::Environments),
            nodes: load(DataType::Nodes),
            holds: self.binding_holds(key),
            body: self.verified.get(&(key.team, primary(key))).and_then(|kept| kept.body),
        }
    }

    pub fn payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> Vec<(ExternalId, Box<str>)> {
        self.find(team, data_type, ids, |row| row.payload.clone())
    }

    pub fn known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> Vec<(ExternalId, SourceVersion)> {
        self.find(team, data_type, ids, |row| row.source_version)
    }

    fn find<T>(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
        what: impl Fn(&Row) -> T,
    ) -> Vec<(ExternalId, T)> {
        let Some(rows) = self.rows.get(&(team, data_type)) else { return Vec::new() };
        ids.iter().filter_map(|id| Some((id.clone(), what(rows.get(id)?)))).collect()
    }

    pub fn archive_work(&self, team: TeamId, limit: u32) -> Vec<ArchivedSite> {
        let sites = self.archive.get(&team).into_iter().flatten();
        let mut wanted: Vec<_> = sites
            .filter(|(_, site)| site.unarchived_at.is_none())
            .map(|(id, site)| ArchivedSite {
                id: id.clone(),
                env_name: env_name(&site.snapshot).unwrap_or_default().to_owned(),
                archived_at: site.archived_at,
                annotated: site.deleted_by.is_some() || site.deleted_at.is_some(),
                probed_at: site.probed.map(|(at, _)| at),
            })
            .collect();
        wanted.sort_by(|a, b| (a.probed_at, &a.id).cmp(&(b.probed_at, &b.id)));
        wanted.truncate(limit as usize);
        wanted
    }

    pub fn stage(&mut self, run: crate::domain::RunId, rows: Vec<Upsert>) {
        let staged = self.staging.entry(run).or_default();
        for row in rows {
            staged.insert((row.item.data_type(), row.item.id.clone()), row);
        }
    }
}

/// The envName that a row carries.
pub(super) fn env_name(row: &Row) -> Option<&str> {
    match &row.columns {
        Columns::Environment(environment) => Some(&environment.env_name),
        Columns::Node(node) => Some(&node.env_name),
        Columns::JobLog(log) => log.env_name.as_deref(),
    }
}

/// The platform status number that a row carries.
pub(super) fn status(row: &Row) -> Option<i32> {
    match &row.columns {
        Columns::Environment(environment) => Some(environment.status),
        Columns::Node(node) => Some(node.status),
        Columns::JobLog(_) => None,
    }
}

fn stored(row: &Row) -> StoredRow {
    let environment = matches!(row.columns, Columns::Environment(_));
    StoredRow {
        source_version: row.source_version,
        raw_version: row.raw_version,
        fence: row.fence,
        outline_version: row.outline_version,
        parent: parent_of(row).cloned(),
        env_name: environment.then(|| env_name(row).map(ToOwned::to_owned)).flatten(),
        status: status(row),
        flags: RowFlags {
            missing_since: row.missing.map(|(since, _)| since),
            stale: row.stale.is_some(),
            needs_validation: row.needs_validation,
            held: row.held,
            quarantined: row.quarantined,
        },
    }
}
