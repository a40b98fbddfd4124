//! The rows of a commit: upserts, marks, archive, change rows.

use time::OffsetDateTime;

use super::apply::Commit;
use super::db::{Archived, Quarantined, Row, Tables};
use crate::domain::item::{Item, Malformed};
use crate::domain::removal::{MissingReason, StaleReason};
use crate::domain::{DataType, ExternalId, TeamId};
use crate::ports::reads::ChangeRow;
use crate::ports::store::{Change, TableApply, Upsert, UpsertKind, Upserts};

impl Tables {
    pub fn apply_table(&mut self, commit: &Commit<'_>, table: &TableApply) {
        let lease = commit.apply.lease;
        let upserts = match &table.upserts {
            Upserts::Inline(upserts) => upserts.clone(),
            Upserts::Staged => self.take_staged(commit, table.data_type),
        };
        for upsert in upserts {
            self.upsert(commit, upsert);
        }
        for (id, reason) in &table.missing {
            self.mark_missing(commit, table.data_type, id, *reason);
        }
        for (id, reason) in &table.stale {
            self.mark_stale(commit, table.data_type, id, *reason);
        }
        for malformed in &table.quarantined {
            self.set_aside(commit, malformed);
        }
        for id in &table.unseen {
            self.doubt(commit, table.data_type, id);
        }
        if table.verified {
            let entry = self.verified.entry((lease.key.team, table.data_type)).or_default();
            if entry.at.is_none_or(|at| at < commit.sent) {
                (entry.at, entry.by) = (Some(commit.sent), Some(commit.apply.mode));
            }
        }
    }

    fn take_staged(&mut self, commit: &Commit<'_>, data_type: DataType) -> Vec<Upsert> {
        let run = commit.apply.lease.run;
        let Some(staged) = self.staging.get_mut(&run) else { return Vec::new() };
        let mine = staged.extract_if(|(table, _), _| *table == data_type);
        mine.map(|(_, upsert)| upsert).collect()
    }

    fn upsert(&mut self, commit: &Commit<'_>, upsert: Upsert) {
        let Upsert { item, kind, change } = upsert;
        let team = commit.apply.lease.key.team;
        let (data_type, id) = (item.data_type(), item.id.clone());
        let rows = self.rows.entry((team, data_type)).or_default();
        let first_seen_at = rows.get(&id).map_or(commit.sent, |row| row.first_seen_at);
        rows.insert(id.clone(), fresh_row(commit, item, first_seen_at));
        self.quarantine.remove(&(team, data_type, id.clone()));
        if data_type == DataType::Environments {
            self.unarchive(commit, team, &id);
        }
        if let Some(change) = change {
            let op = match kind {
                UpsertKind::Insert => "added",
                UpsertKind::Update => "changed",
                UpsertKind::Return => "returned",
            };
            self.note_change(commit, data_type, id, op, Some(&change));
        }
    }

    fn unarchive(&mut self, commit: &Commit<'_>, team: TeamId, id: &ExternalId) {
        if let Some(site) = self.archive.get_mut(&team).and_then(|sites| sites.get_mut(id)) {
            site.unarchived_at.get_or_insert(commit.now);
        }
    }

    fn mark_missing(
        &mut self,
        commit: &Commit<'_>,
        data_type: DataType,
        id: &ExternalId,
        reason: MissingReason,
    ) {
        let team = commit.apply.lease.key.team;
        let Some(row) = self.row_mut(team, data_type, id) else { return };
        if row.stale.is_some() {
            return;
        }
        let first_time = row.missing.is_none();
        let since = row.missing.map_or(commit.sent, |(since, _)| since);
        row.missing = Some((since, reason));
        row.needs_validation = true;
        row.held = reason == MissingReason::Held;
        row.fence = commit.apply.lease.fence;
        if first_time {
            self.note_change(commit, data_type, id.clone(), "missing", None);
        }
    }

    fn mark_stale(
        &mut self,
        commit: &Commit<'_>,
        data_type: DataType,
        id: &ExternalId,
        reason: StaleReason,
    ) {
        let team = commit.apply.lease.key.team;
        if self.row_mut(team, data_type, id).is_none_or(|row| row.stale.is_some()) {
            return;
        }
        if data_type == DataType::Environments {
            self.archive_environment(team, id, reason, (commit.sent, commit.now));
        }
        if let Some(row) = self.row_mut(team, data_type, id) {
            row.stale = Some((commit.sent, reason));
            row.missing = None;
            row.needs_validation = false;
            row.held = false;
            row.fence = commit.apply.lease.fence;
        }
        self.note_change(commit, data_type, id.clone(), "stale", None);
    }

    /// Keeps the environment and its nodes as they were last seen; nodes that
    /// went with it, stale since `sent`, are among them.
    pub(super) fn archive_environment(
        &mut self,
        team: TeamId,
        id: &ExternalId,
        reason: StaleReason,
        (sent, now): (OffsetDateTime, OffsetDateTime),
    ) {
        let Some(snapshot) = self.row_mut(team, DataType::Environments, id).cloned() else {
            return;
        };
        let nodes = self.rows.get(&(team, DataType::Nodes)).into_iter().flatten();
        let nodes = nodes
            .filter(|(_, row)| {
                parent_of(row) == Some(id) && row.stale.is_none_or(|(at, _)| at == sent)
            })
            .map(|(_, row)| row.payload.clone())
            .collect();
        let site = Archived {
            snapshot,
            nodes,
            archived_at: now,
            reason,
            deleted_by: None,
            deleted_at: None,
            probed: None,
            unarchived_at: None,
        };
        self.archive.entry(team).or_default().insert(id.clone(), site);
    }

    fn set_aside(&mut self, commit: &Commit<'_>, malformed: &Malformed) {
        let team = commit.apply.lease.key.team;
        let fence = commit.apply.lease.fence;
        // An element without an id shares one place per table: it cannot be told apart.
        let id = malformed.id.clone().unwrap_or_else(|| ExternalId::from(""));
        if let Some(row) = self.row_mut(team, malformed.data_type, &id) {
            row.needs_validation = true;
            row.quarantined = true;
            row.fence = fence;
        }
        let entry = self.quarantine.entry((team, malformed.data_type, id));
        let kept = entry.or_insert_with(|| Quarantined {
            last: malformed.clone(),
            seen: 0,
            last_seen_at: commit.now,
        });
        kept.last = malformed.clone();
        kept.seen += 1;
        kept.last_seen_at = commit.now;
    }

    fn doubt(&mut self, commit: &Commit<'_>, data_type: DataType, id: &ExternalId) {
        let lease = commit.apply.lease;
        let Some(row) = self.row_mut(lease.key.team, data_type, id) else { return };
        if row.stale.is_none() && !row.needs_validation {
            row.needs_validation = true;
            row.fence = lease.fence;
        }
    }

    fn note_change(
        &mut self,
        commit: &Commit<'_>,
        data_type: DataType,
        external_id: ExternalId,
        op: &str,
        change: Option<&Change>,
    ) {
        let lease = commit.apply.lease;
        let Some(team) = self.teams.get_mut(&lease.key.team) else { return };
        team.last_change += 1;
        let json = |text: &str| serde_json::from_str(text).ok();
        let row = ChangeRow {
            id: team.last_change,
            data_type,
            external_id,
            op: op.to_owned(),
            patch: change.and_then(|change| json(&change.patch)),
            undo: change.and_then(|change| json(&change.undo)),
            job_id: lease.job,
            event_no: commit.event,
            found_at: commit.now,
        };
        self.changes.entry(lease.key.team).or_default().push(row);
    }

    pub fn annotate(&mut self, commit: &Commit<'_>) {
        let team = commit.apply.lease.key.team;
        let Some(sites) = self.archive.get_mut(&team) else { return };
        for annotation in &commit.apply.annotations {
            let Some(site) = sites.get_mut(&annotation.id) else { continue };
            if annotation.deleted_by.is_some() {
                site.deleted_by.clone_from(&annotation.deleted_by);
            }
            if annotation.deleted_at.is_some() {
                site.deleted_at = annotation.deleted_at;
            }
            if let Some(alive) = annotation.probed {
                site.probed = Some((commit.sent, alive));
            }
        }
    }

    pub fn row_mut(
        &mut self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
    ) -> Option<&mut Row> {
        self.rows.get_mut(&(team, data_type))?.get_mut(id)
    }
}

fn fresh_row(commit: &Commit<'_>, item: Item, first_seen_at: OffsetDateTime) -> Row {
    Row {
        payload: item.payload,
        source_version: item.source_version,
        raw_version: item.raw_version,
        outline_version: item.outline_version,
        columns: item.columns,
        fence: commit.apply.lease.fence,
        synced_at: commit.sent,
        first_seen_at,
        missing: None,
        stale: None,
        needs_validation: false,
        held: false,
        quarantined: false,
    }
}

/// The environment of a stored node or action.
pub(super) fn parent_of(row: &Row) -> Option<&ExternalId> {
    use crate::domain::item::Columns;
    match &row.columns {
        Columns::Environment(_) => None,
        Columns::Node(node) => Some(&node.environment),
        Columns::JobLog(log) => log.environment.as_ref(),
    }
}
