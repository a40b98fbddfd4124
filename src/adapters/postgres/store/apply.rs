//! The commit of a run: everything or nothing, under the guard.
//!
//! The state's row is locked first, by the guard; the team's event counter
//! last. Between the two, readers of other transactions see nothing.

use time::OffsetDateTime;
use vz_sync_actors::domain::event::Completed;
use vz_sync_actors::domain::{Completeness, DataType, EventBody, EventNo, Mode};
use vz_sync_actors::ports::store::{Applied, Apply, Upsert, Upserts};

use super::super::error::Fault;
use super::PgStore;
use super::changes::Changes;
use super::db::Tx;
use super::marks::{Marked, Touch};
use super::outbox::Outgoing;
use super::people::WAKE;
use super::rows::{self, Stamp};
use super::{archive, holds, jobs, marks, outbox};

const BEGIN: &str = include_str!("../sql/apply_begin.sql");
const FINISH_RUN: &str = include_str!("../sql/finish_run.sql");
const COMMIT_STATE: &str = include_str!("../sql/commit_state.sql");

/// The request as it stands when the run commits.
struct Standing {
    started: OffsetDateTime,
    requested_at: Option<OffsetDateTime>,
    wants_more_than_a_delta: bool,
    trace_parent: Option<String>,
}

impl PgStore {
    pub(super) async fn try_apply(&self, apply: &Apply) -> Result<Applied, Fault> {
        let (lease, key) = (apply.lease, apply.lease.key);
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        let Some(row) = tx.row(BEGIN, &[]).await? else {
            return Err(Fault::unreadable("the clock gave no answer"));
        };
        let now: OffsetDateTime = row.try_get("at")?;
        // Measured after the clock was read, so that the moment can only come
        // out too early: "current" must never be a lie.
        let sent = now - apply.sent_at.elapsed();
        let Some(standing) = self.standing(&tx, apply).await? else {
            return Ok(Applied::Overtaken);
        };
        let stamp = Stamp { team: key.team, fence: lease.fence, sent };
        let inline: Vec<(DataType, Vec<&Upsert>)> = apply
            .tables
            .iter()
            .map(|table| match &table.upserts {
                Upserts::Inline(upserts) => (table.data_type, rows::last_wins(upserts)),
                Upserts::Staged => (table.data_type, Vec::new()),
            })
            .collect();

        let marked = self.write_rows(&tx, stamp, apply, &inline).await?;
        let opened = holds::change(&tx, stamp, apply).await?;
        touch_data_types(&tx, stamp, apply, &inline).await?;
        let runnable_again = commit_state(&tx, stamp, apply, &standing).await?;
        if let Some(scope) = apply.wake {
            tx.rows(WAKE, &[&key.team.0, &scope.as_str()]).await?;
        }

        let mut changes = Changes::default();
        for (data_type, upserts) in &inline {
            changes.upserts(*data_type, upserts);
        }
        changes.marks(&marked);
        if is_staged(apply) && self.staged.tells(lease.run) {
            changes.count_staged(&tx, stamp, lease.run).await?;
        }
        let mut events = vec![completed(apply, sent, standing.trace_parent)];
        let mut held = Vec::with_capacity(opened.len());
        for (id, event) in opened {
            held.push(id);
            events.push(event);
        }
        let numbers = outbox::tell(&tx, key.team, &events, changes.len()).await?;
        changes.write(&tx, stamp, (lease.job, lease.run), numbers).await?;
        if runnable_again {
            tx.notify_due().await?;
        }
        tx.commit().await?;
        let event: EventNo = numbers.event;
        Ok(Applied::Committed { event, held, runnable_again })
    }

    /// Takes the state's row if the run still has its lease.
    async fn standing(&self, tx: &Tx<'_>, apply: &Apply) -> Result<Option<Standing>, Fault> {
        let lease = apply.lease;
        let row = tx
            .row(
                self.guard,
                &[
                    &lease.key.team.0,
                    &lease.key.scope.as_str(),
                    &lease.fence.0,
                    &lease.run.0,
                    &lease.job.0,
                ],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mode: Option<&str> = row.try_get("requested_mode")?;
        let environments: Option<Vec<&str>> = row.try_get("requested_environments")?;
        let started: Option<OffsetDateTime> = row.try_get("last_started_at")?;
        Ok(Some(Standing {
            started: started.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            requested_at: row.try_get("requested_at")?,
            wants_more_than_a_delta: mode == Some("full")
                || environments.is_some_and(|names| !names.is_empty()),
            trace_parent: row.try_get("requested_trace")?,
        }))
    }

    /// Rows first; then the archive, which copies rows before any is marked.
    async fn write_rows(
        &self,
        tx: &Tx<'_>,
        stamp: Stamp,
        apply: &Apply,
        inline: &[(DataType, Vec<&Upsert>)],
    ) -> Result<Vec<Marked>, Fault> {
        let run = apply.lease.run;
        if is_staged(apply) {
            // A few thousand wide rows are sorted here: in memory, if it can be.
            tx.batch("SET LOCAL work_mem = '64MB'").await?;
        }
        for (table, (data_type, upserts)) in apply.tables.iter().zip(inline) {
            let staged = matches!(table.upserts, Upserts::Staged).then_some(run);
            if let Some(run) = staged {
                rows::flip(tx, stamp, run, *data_type).await?;
            } else {
                rows::upsert(tx, stamp, *data_type, upserts).await?;
            }
            archive::welcome_back(tx, stamp, *data_type, upserts, staged).await?;
        }
        for table in &apply.tables {
            if table.data_type == DataType::Environments {
                archive::archive(tx, stamp, &table.stale).await?;
            }
        }
        let mut marked = Vec::new();
        for table in &apply.tables {
            marked.extend(marks::mark(tx, stamp, table).await?);
            marks::quarantine(tx, stamp, table).await?;
            marks::doubt(tx, stamp, table).await?;
        }
        archive::annotate(tx, stamp, &apply.annotations).await?;
        Ok(marked)
    }
}

fn is_staged(apply: &Apply) -> bool {
    apply.tables.iter().any(|table| matches!(table.upserts, Upserts::Staged))
}

async fn touch_data_types(
    tx: &Tx<'_>,
    stamp: Stamp,
    apply: &Apply,
    inline: &[(DataType, Vec<&Upsert>)],
) -> Result<(), Fault> {
    let written = is_staged(apply)
        || inline.iter().any(|(_, upserts)| !upserts.is_empty())
        || apply.tables.iter().any(|table| {
            !(table.missing.is_empty() && table.stale.is_empty() && table.quarantined.is_empty())
        });
    let scope = apply.lease.key.scope;
    let complete = apply.completeness.is_complete();
    for table in &apply.tables {
        let primary = table.data_type == scope.data_types()[0];
        let touch = Touch {
            scope,
            mode: apply.mode,
            complete_full: complete && apply.mode == Mode::Full,
            written,
            body: apply.body.as_ref().filter(|_| primary && complete),
        };
        marks::touch(tx, stamp, table, &touch).await?;
    }
    Ok(())
}

/// Job, request and state; answers whether the state may run again at once.
async fn commit_state(
    tx: &Tx<'_>,
    stamp: Stamp,
    apply: &Apply,
    standing: &Standing,
) -> Result<bool, Fault> {
    let (lease, key) = (apply.lease, apply.lease.key);
    let counts = counts(apply)?;
    tx.rows(FINISH_RUN, &[&key.team.0, &lease.job.0, &apply.mode.as_str(), &counts]).await?;
    if apply.doubt.is_none() {
        jobs::answer_request(tx, key, lease.job, answered_until(apply, stamp, standing)).await?;
    }
    let cursor =
        apply.cursor.as_ref().map(serde_json::to_value).transpose().map_err(Fault::unreadable)?;
    let doubt = apply.doubt.as_ref();
    let failure = doubt.map(|doubt| &doubt.failure);
    let full = apply.mode == Mode::Full && apply.completeness.is_complete() && doubt.is_none();
    let row = tx
        .row(
            COMMIT_STATE,
            &[
                &key.team.0,
                &key.scope.as_str(),
                &lease.fence.0,
                &lease.run.0,
                &apply.due.full,
                &apply.due.delta,
                &apply.mode.as_str(),
                &cursor,
                &full,
                &failure.map(|failure| failure.class.as_str()),
                &failure.map(|failure| failure.code.as_str()),
                &failure.map(|failure| failure.message.as_str()),
                &doubt.map(|doubt| doubt.wait.as_secs_f64()),
            ],
        )
        .await?;
    let again: Option<bool> = row.map(|row| row.try_get("runnable_again")).transpose()?.flatten();
    Ok(again.unwrap_or(false))
}

/// Requests up to this moment got what they asked for: those made before the
/// listing was sent, unless they came after the lease and asked for more than
/// the run had set out to do.
fn answered_until(apply: &Apply, stamp: Stamp, standing: &Standing) -> OffsetDateTime {
    let asked_for_more = apply.mode == Mode::Delta
        && standing.wants_more_than_a_delta
        && standing.requested_at.is_some_and(|at| at > standing.started);
    if asked_for_more { standing.started } else { stamp.sent.max(standing.started) }
}

/// The sum, readable as `Counts`, with each table's own beside it.
fn counts(apply: &Apply) -> Result<serde_json::Value, Fault> {
    let mut sum = serde_json::to_value(apply.counts).map_err(Fault::unreadable)?;
    let mut tables = serde_json::Map::new();
    for table in &apply.tables {
        let own = serde_json::to_value(table.counts).map_err(Fault::unreadable)?;
        tables.insert(table.data_type.as_str().to_owned(), own);
    }
    if let Some(fields) = sum.as_object_mut() {
        fields.insert("tables".to_owned(), tables.into());
        // Whether `listed` is worth expecting of the next run.
        let complete = apply.completeness.is_complete() && apply.doubt.is_none();
        fields.insert("complete".to_owned(), complete.into());
    }
    Ok(sum)
}

fn completed(apply: &Apply, sent: OffsetDateTime, trace_parent: Option<String>) -> Outgoing {
    let key = apply.lease.key;
    let verified = apply.tables.iter().any(|table| table.verified);
    let body = EventBody::Completed(Completed {
        job_id: apply.lease.job,
        scope: key.scope,
        mode: apply.mode,
        verified_at: verified.then_some(sent),
        partial: match &apply.completeness {
            Completeness::Complete => None,
            Completeness::Partial(reason) => Some(reason.code().to_owned()),
        },
        counts: apply.counts,
        changed: apply.changed.clone(),
        truncated: apply.truncated,
    });
    Outgoing { job: Some(apply.lease.job), scope: key.scope, body, trace_parent }
}
