//! Turns planned rows into upserts with their change rows, held inline while
//! they are few and staged beside the download when they are many.
//!
//! Old payloads are read outside of the apply: the lease keeps other runs
//! out, and the fence refuses the apply if it did not.

use std::collections::{HashMap, HashSet};

use tokio::task::JoinSet;

use super::run::{Run, WorkError};
use crate::domain::diff;
use crate::domain::event::{ChangedId, MAX_CHANGED_IDS};
use crate::domain::plan::{Planned, UpsertKind};
use crate::domain::{DataType, ExternalId, Failure, TeamId};
use crate::parts::Parts;
use crate::ports::store::{Change, LeaseRef, Upsert, Upserts};

/// What a run will write, once everything was planned.
pub(super) struct Written {
    /// `None` when the rows are staged.
    inline: Option<Vec<Upsert>>,
    pub(super) changed: Vec<ChangedId>,
    pub(super) truncated: bool,
}

impl Written {
    /// Hands out the rows of one table.
    pub(super) fn of(&mut self, data_type: DataType) -> Upserts {
        let Some(inline) = &mut self.inline else { return Upserts::Staged };
        Upserts::Inline(inline.extract_if(.., |row| row.item.data_type() == data_type).collect())
    }
}

/// Collects a run's writes.
pub(super) struct Writer {
    parts: Parts,
    lease: LeaseRef,
    /// Whether change rows are wanted.
    changes: bool,
    pending: Vec<Planned>,
    staging: bool,
    staged: HashSet<(DataType, ExternalId)>,
    tasks: JoinSet<Result<(), WorkError>>,
    changed: Vec<ChangedId>,
    changed_ids: HashSet<(DataType, ExternalId)>,
    truncated: bool,
}

impl Writer {
    pub(super) fn new(run: &Run, changes: bool) -> Self {
        Self {
            parts: run.parts.clone(),
            lease: run.lease.name,
            changes,
            pending: Vec::new(),
            staging: false,
            staged: HashSet::new(),
            tasks: JoinSet::new(),
            changed: Vec::new(),
            changed_ids: HashSet::new(),
            truncated: false,
        }
    }

    /// Takes planned rows; waits when staging cannot keep up.
    pub(super) async fn add(&mut self, planned: Vec<Planned>) -> Result<(), WorkError> {
        for row in &planned {
            self.note_changed(row.item.data_type(), &row.item.id);
        }
        self.pending.extend(planned);
        if self.pending.len() >= self.parts.settings.stage_from {
            self.staging = true;
        }
        if self.staging {
            self.stage(self.parts.settings.stage_batch).await?;
        }
        Ok(())
    }

    /// Notes a row that changes without an upsert.
    pub(super) fn note_changed(&mut self, data_type: DataType, id: &ExternalId) {
        if self.changed.len() >= MAX_CHANGED_IDS {
            self.truncated |= !self.changed_ids.contains(&(data_type, id.clone()));
        } else if self.changed_ids.insert((data_type, id.clone())) {
            self.changed.push(ChangedId { data_type, id: id.clone() });
        }
    }

    /// Hands over full batches, at most a few at once.
    async fn stage(&mut self, at_least: usize) -> Result<(), WorkError> {
        let batch = self.parts.settings.stage_batch;
        while !self.pending.is_empty() && self.pending.len() >= at_least {
            let rest = self.pending.split_off(batch.min(self.pending.len()));
            let rows = std::mem::replace(&mut self.pending, rest);
            // A repeated id must reach the staging rows after its first form.
            let repeated = rows
                .iter()
                .any(|row| self.staged.contains(&(row.item.data_type(), row.item.id.clone())));
            let room = self.parts.settings.stage_parallel.max(1);
            while self.tasks.len() >= room || (repeated && !self.tasks.is_empty()) {
                self.join_one().await?;
            }
            self.staged.extend(rows.iter().map(|row| (row.item.data_type(), row.item.id.clone())));
            let (parts, lease, changes) = (self.parts.clone(), self.lease, self.changes);
            self.tasks.spawn(async move {
                let upserts = with_changes(&parts, lease.key.team, rows, changes).await?;
                Ok(parts.ports.store.stage(&lease, upserts).await?)
            });
        }
        Ok(())
    }

    async fn join_one(&mut self) -> Result<(), WorkError> {
        match self.tasks.join_next().await {
            None => Ok(()),
            Some(Ok(end)) => end,
            Some(Err(error)) => {
                Err(Failure::internal("staging_task", format!("a staging task: {error}")).into())
            }
        }
    }

    /// Everything was planned: what the apply will write.
    pub(super) async fn finish(mut self) -> Result<Written, WorkError> {
        let inline = if self.staging {
            self.stage(1).await?;
            while !self.tasks.is_empty() {
                self.join_one().await?;
            }
            None
        } else {
            let rows = last_wins(std::mem::take(&mut self.pending));
            Some(with_changes(&self.parts, self.lease.key.team, rows, self.changes).await?)
        };
        let (changed, truncated) = (self.changed, self.truncated);
        Ok(Written { inline, changed, truncated })
    }
}

/// One row per id: of a repeated one the last form.
fn last_wins(rows: Vec<Planned>) -> Vec<Planned> {
    let mut place: HashMap<(DataType, ExternalId), usize> = HashMap::with_capacity(rows.len());
    let mut kept: Vec<Planned> = Vec::with_capacity(rows.len());
    for row in rows {
        let key = (row.item.data_type(), row.item.id.clone());
        if let Some(index) = place.get(&key) {
            kept[*index] = row;
        } else {
            place.insert(key, kept.len());
            kept.push(row);
        }
    }
    kept
}

/// Adds the change rows: what was added, and how the rest differs from what
/// is stored.
async fn with_changes(
    parts: &Parts,
    team: TeamId,
    rows: Vec<Planned>,
    wanted: bool,
) -> Result<Vec<Upsert>, WorkError> {
    let mut old: HashMap<(DataType, ExternalId), Box<str>> = HashMap::new();
    if wanted {
        for data_type in [DataType::Environments, DataType::Nodes] {
            let ids: Vec<ExternalId> = rows
                .iter()
                .filter(|row| row.kind != UpsertKind::Insert && row.item.data_type() == data_type)
                .map(|row| row.item.id.clone())
                .collect();
            if !ids.is_empty() {
                let payloads = parts.ports.store.payloads(team, data_type, &ids).await?;
                old.extend(payloads.into_iter().map(|(id, payload)| ((data_type, id), payload)));
            }
        }
    }
    rows.into_iter()
        .map(|Planned { item, kind }| {
            let change = if wanted {
                let before = old.get(&(item.data_type(), item.id.clone())).map(AsRef::as_ref);
                change(before, &item.payload)?
            } else {
                None
            };
            Ok(Upsert { item, kind, change })
        })
        .collect()
}

/// The change row of one upsert. A new row is told whole: its undo removes it.
fn change(before: Option<&str>, after: &str) -> Result<Option<Change>, WorkError> {
    let broken =
        |error| Failure::internal("diff", format!("a payload cannot be compared: {error}"));
    match before {
        Some(before) => Ok(diff::between(before, after).map_err(broken)?),
        None => Ok(Some(Change {
            patch: format!(r#"[{{"op":"add","path":"","value":{after}}}]"#).into(),
            undo: r#"[{"op":"remove","path":""}]"#.into(),
        })),
    }
}
