//! Held removal sets, as an apply makes and moves them.

use vz_sync_actors::domain::event::RemovalsHeld;
use vz_sync_actors::domain::removal::HoldChange;
use vz_sync_actors::domain::{EventBody, ExternalId, HoldId};
use vz_sync_actors::ports::store::Apply;

use super::super::error::Fault;
use super::db::Tx;
use super::outbox::Outgoing;
use super::rows::Stamp;

const OPEN: &str = include_str!("../sql/hold_open.sql");
const AGREE: &str = include_str!("../sql/hold_agree.sql");
const SHRINK: &str = include_str!("../sql/hold_shrink.sql");
const END: &str = include_str!("../sql/hold_end.sql");

/// Makes and moves the holds of an apply; the answer is the new ones, each
/// with the event it owes.
pub(super) async fn change(
    tx: &Tx<'_>,
    stamp: Stamp,
    apply: &Apply,
) -> Result<Vec<(HoldId, Outgoing)>, Fault> {
    let team = stamp.team.0;
    let mut opened = Vec::new();
    for change in &apply.holds {
        match change {
            HoldChange::Open { data_type, items, of, reason } => {
                let mut ids: Vec<&str> = items.iter().map(ExternalId::as_str).collect();
                ids.sort_unstable();
                ids.dedup();
                let (job, rows) = (apply.lease.job, *of as i64);
                let row = tx
                    .row(
                        OPEN,
                        &[&team, &data_type.as_str(), reason, &rows, &ids, &job.0, &stamp.sent],
                    )
                    .await?
                    .ok_or_else(|| Fault::unreadable("a hold was not made"))?;
                let (id, missing): (i64, i64) = (row.try_get("id")?, row.try_get("rows_missing")?);
                let body = EventBody::RemovalsHeld(RemovalsHeld {
                    hold_id: HoldId(id),
                    job_id: job,
                    data_type: *data_type,
                    count: missing.max(0) as u64,
                    of: *of,
                    reason: reason.clone(),
                });
                let scope = apply.lease.key.scope;
                let event = Outgoing { job: Some(job), scope, body, trace_parent: None };
                opened.push((HoldId(id), event));
            }
            HoldChange::Agree { id } => {
                tx.execute(AGREE, &[&team, &id.0, &stamp.sent]).await?;
            }
            HoldChange::Release { id } => {
                tx.execute(END, &[&team, &id.0, &"released"]).await?;
            }
            HoldChange::Shrink { id, returned } => {
                let ids: Vec<&str> = returned.iter().map(ExternalId::as_str).collect();
                tx.execute(SHRINK, &[&team, &id.0, &ids]).await?;
            }
            HoldChange::Expire { id } => {
                tx.execute(END, &[&team, &id.0, &"expired"]).await?;
            }
        }
    }
    Ok(opened)
}
