//! Change rows: numbered within the team by the same lock as its events.

use vz_sync_actors::domain::plan::UpsertKind;
use vz_sync_actors::domain::{DataType, JobId, RunId};
use vz_sync_actors::ports::store::{Apply, Upsert};

use super::super::error::Fault;
use super::db::{JsonText, Tx};
use super::outbox::Numbers;
use super::rows::Stamp;

const CHANGE_ROWS: &str = include_str!("../sql/change_rows.sql");
const COUNT_STAGED: &str = include_str!("../sql/count_staged_changes.sql");
const STAGED: &str = include_str!("../sql/staged_change_rows.sql");

/// Change rows that came with an apply, as the columns of the table.
#[derive(Default)]
pub(super) struct Changes<'a> {
    tables: Vec<&'static str>,
    ids: Vec<&'a str>,
    ops: Vec<&'static str>,
    patches: Vec<Option<JsonText<'a>>>,
    undos: Vec<Option<JsonText<'a>>>,
    /// Change rows that the run staged.
    staged: i64,
}

impl<'a> Changes<'a> {
    /// Notes upserts. A row that is back is told even if nothing in it
    /// changed; a first load brings no changes and is not told.
    pub(super) fn upserts(&mut self, data_type: DataType, upserts: &[&'a Upsert]) {
        for upsert in upserts {
            let op = match (upsert.kind, &upsert.change) {
                (UpsertKind::Return, _) => "returned",
                (_, None) => continue,
                (UpsertKind::Insert, Some(_)) => "added",
                (UpsertKind::Update, Some(_)) => "changed",
            };
            self.tables.push(data_type.as_str());
            self.ids.push(upsert.item.id.as_str());
            self.ops.push(op);
            self.patches.push(upsert.change.as_ref().map(|change| JsonText(&change.patch)));
            self.undos.push(upsert.change.as_ref().map(|change| JsonText(&change.undo)));
        }
    }

    /// Notes what the apply marks.
    pub(super) fn marks(&mut self, apply: &'a Apply) {
        for table in &apply.tables {
            let missing = table.missing.iter().map(|(id, _)| (id, "missing"));
            let stale = table.stale.iter().map(|(id, _)| (id, "stale"));
            for (id, op) in missing.chain(stale) {
                self.tables.push(table.data_type.as_str());
                self.ids.push(id.as_str());
                self.ops.push(op);
                self.patches.push(None);
                self.undos.push(None);
            }
        }
    }

    /// Counts what the run staged.
    pub(super) async fn count_staged(
        &mut self,
        tx: &Tx<'_>,
        stamp: Stamp,
        run: RunId,
    ) -> Result<(), Fault> {
        if let Some(row) = tx.row(COUNT_STAGED, &[&stamp.team.0, &run.0]).await? {
            self.staged = row.try_get(0)?;
        }
        Ok(())
    }

    /// How many numbers are needed.
    pub(super) fn len(&self) -> i64 {
        self.ids.len() as i64 + self.staged
    }

    /// Writes them all with the numbers they got.
    pub(super) async fn write(
        &self,
        tx: &Tx<'_>,
        stamp: Stamp,
        (job, run): (JobId, RunId),
        numbers: Numbers,
    ) -> Result<(), Fault> {
        let Stamp { team, sent, .. } = stamp;
        let Numbers { event, change } = numbers;
        if !self.ids.is_empty() {
            tx.execute(
                CHANGE_ROWS,
                &[
                    &team.0,
                    &change,
                    &event.0,
                    &job.0,
                    &sent,
                    &self.tables,
                    &self.ids,
                    &self.ops,
                    &self.patches,
                    &self.undos,
                ],
            )
            .await?;
        }
        if self.staged > 0 {
            let first = change + self.ids.len() as i64;
            tx.execute(STAGED, &[&team.0, &first, &event.0, &job.0, &sent, &run.0]).await?;
        }
        Ok(())
    }
}
