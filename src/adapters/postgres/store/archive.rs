//! The archive: environments on their way in and out, and what is learnt of
//! them there.

use time::OffsetDateTime;
use vz_sync_actors::domain::plan::UpsertKind;
use vz_sync_actors::domain::removal::StaleReason;
use vz_sync_actors::domain::{DataType, ExternalId, RunId};
use vz_sync_actors::ports::store::{Annotation, Upsert};

use super::super::error::Fault;
use super::db::Tx;
use super::marks::in_order;
use super::rows::Stamp;

const ARCHIVE: &str = include_str!("../sql/archive.sql");
const UNARCHIVE: &str = include_str!("../sql/unarchive.sql");
const ANNOTATE: &str = include_str!("../sql/annotate.sql");
const NOTE_PROBES: &str = include_str!("../sql/note_probes.sql");
const QUARANTINE_LEAVE: &str = include_str!("../sql/quarantine_leave.sql");

/// Keeps the last snapshot of environments that are confirmed gone.
pub(super) async fn archive(
    tx: &Tx<'_>,
    stamp: Stamp,
    stale: &[(ExternalId, StaleReason)],
) -> Result<u64, Fault> {
    if stale.is_empty() {
        return Ok(0);
    }
    let (ids, reasons) = in_order(stale, |reason| reason.as_str());
    tx.execute(ARCHIVE, &[&stamp.team.0, &ids, &reasons, &stamp.fence.0]).await
}

/// What was read again leaves the archive and the quarantine.
pub(super) async fn welcome_back(
    tx: &Tx<'_>,
    stamp: Stamp,
    data_type: DataType,
    inline: &[&Upsert],
    staged: Option<RunId>,
) -> Result<(), Fault> {
    let run = staged.map(|run| run.0);
    let ids: Vec<&str> = inline.iter().map(|upsert| upsert.item.id.as_str()).collect();
    if ids.is_empty() && run.is_none() {
        return Ok(());
    }
    tx.execute(QUARANTINE_LEAVE, &[&stamp.team.0, &data_type.as_str(), &ids, &run]).await?;
    if data_type == DataType::Environments {
        let back: Vec<&str> = inline
            .iter()
            .filter(|upsert| upsert.kind != UpsertKind::Update)
            .map(|upsert| upsert.item.id.as_str())
            .collect();
        if !back.is_empty() || run.is_some() {
            tx.execute(UNARCHIVE, &[&stamp.team.0, &back, &run, &stamp.fence.0]).await?;
        }
    }
    Ok(())
}

/// Writes down what a run of the archive learnt.
pub(super) async fn annotate(
    tx: &Tx<'_>,
    stamp: Stamp,
    annotations: &[Annotation],
) -> Result<(), Fault> {
    if annotations.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&Annotation> = annotations.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    sorted.dedup_by(|a, b| a.id == b.id);
    let told: Vec<&Annotation> =
        sorted.iter().copied().filter(|note| note.tells_of_a_deletion()).collect();
    if !told.is_empty() {
        let ids: Vec<&str> = told.iter().map(|of| of.id.as_str()).collect();
        let by: Vec<Option<&str>> = told.iter().map(|of| of.deleted_by.as_deref()).collect();
        let at: Vec<Option<OffsetDateTime>> = told.iter().map(|of| of.deleted_at).collect();
        tx.execute(ANNOTATE, &[&stamp.team.0, &ids, &by, &at]).await?;
    }
    let asked: Vec<&Annotation> =
        sorted.iter().copied().filter(|note| note.probed.is_some()).collect();
    if !asked.is_empty() {
        let ids: Vec<&str> = asked.iter().map(|of| of.id.as_str()).collect();
        let alive: Vec<Option<bool>> = asked.iter().map(|of| of.alive()).collect();
        tx.execute(NOTE_PROBES, &[&stamp.team.0, &ids, &alive, &stamp.sent]).await?;
    }
    Ok(())
}
