//! Rows that an apply marks: missing, stale, quarantined; and the data types
//! that stand above them.

use time::OffsetDateTime;
use vz_sync_actors::domain::item::Malformed;
use vz_sync_actors::domain::{DataType, ExternalId, Mode, RawVersion, Scope};
use vz_sync_actors::ports::store::TableApply;

use super::super::error::Fault;
use super::db::Tx;
use super::rows::Stamp;

const MARK_MISSING: &str = include_str!("../sql/mark_missing.sql");
const MARK_STALE: &str = include_str!("../sql/mark_stale.sql");
const MARK_QUARANTINED: &str = include_str!("../sql/mark_quarantined.sql");
const MARK_DOUBTFUL: &str = include_str!("../sql/mark_doubtful.sql");
const QUARANTINE: &str = include_str!("../sql/quarantine.sql");
const TOUCH_DATA_TYPE: &str = include_str!("../sql/touch_data_type.sql");

/// Longest element that the quarantine keeps.
const RAW_CAP: usize = 64 * 1024;

/// The statement for this table. The name is one of four words of ours.
fn of_table(sql: &str, data_type: DataType) -> String {
    let flagged = match data_type {
        DataType::Environments | DataType::Nodes => {
            "(missing_since IS NOT NULL OR needs_validation)"
        }
        DataType::ArchivedSites | DataType::JobLogs => "needs_validation",
    };
    sql.replace("{table}", data_type.as_str()).replace("{flagged}", flagged)
}

/// Ids with their words, in the order in which rows are locked.
pub(super) fn in_order<R>(
    rows: &[(ExternalId, R)],
    word: impl Fn(&R) -> &'static str,
) -> (Vec<&str>, Vec<&'static str>) {
    let mut pairs: Vec<(&str, &'static str)> =
        rows.iter().map(|(id, reason)| (id.as_str(), word(reason))).collect();
    pairs.sort_unstable();
    pairs.dedup_by_key(|(id, _)| *id);
    pairs.into_iter().unzip()
}

/// Whether rows of this table can be absent at all.
const fn has_absence(data_type: DataType) -> bool {
    matches!(data_type, DataType::Environments | DataType::Nodes)
}

/// A row that an apply marked and that was not so before.
pub(super) struct Marked {
    pub(super) data_type: DataType,
    pub(super) id: String,
    pub(super) op: &'static str,
}

pub(super) async fn mark(
    tx: &Tx<'_>,
    stamp: Stamp,
    table: &TableApply,
) -> Result<Vec<Marked>, Fault> {
    let data_type = table.data_type;
    let mut marked = Vec::new();
    if !has_absence(data_type) {
        return Ok(marked);
    }
    let missing = in_order(&table.missing, |reason| reason.as_str());
    let stale = in_order(&table.stale, |reason| reason.as_str());
    for (sql, (ids, reasons), op) in
        [(MARK_MISSING, missing, "missing"), (MARK_STALE, stale, "stale")]
    {
        if ids.is_empty() {
            continue;
        }
        let sql = of_table(sql, data_type);
        let rows =
            tx.rows(&sql, &[&stamp.team.0, &ids, &reasons, &stamp.sent, &stamp.fence.0]).await?;
        for row in rows {
            if row.try_get("newly")? {
                marked.push(Marked { data_type, id: row.try_get("id")?, op });
            }
        }
    }
    Ok(marked)
}

/// Puts rows in doubt that the listing should have spoken of and did not.
pub(super) async fn doubt(tx: &Tx<'_>, stamp: Stamp, table: &TableApply) -> Result<(), Fault> {
    if table.unseen.is_empty() || !has_absence(table.data_type) {
        return Ok(());
    }
    let mut ids: Vec<&str> = table.unseen.iter().map(ExternalId::as_str).collect();
    ids.sort_unstable();
    let sql = of_table(MARK_DOUBTFUL, table.data_type);
    tx.execute(&sql, &[&stamp.team.0, &ids, &stamp.fence.0]).await.map(drop)
}

/// Keeps what failed its schema, and puts the rows served instead in doubt.
pub(super) async fn quarantine(tx: &Tx<'_>, stamp: Stamp, table: &TableApply) -> Result<(), Fault> {
    if table.quarantined.is_empty() {
        return Ok(());
    }
    // An element that nobody could identify is kept under no name.
    let name = |bad: &Malformed| bad.id.as_ref().map_or_else(String::new, ToString::to_string);
    let mut bad: Vec<(String, &Malformed)> =
        table.quarantined.iter().map(|bad| (name(bad), bad)).collect();
    bad.sort_by(|a, b| a.0.cmp(&b.0));
    bad.dedup_by(|a, b| a.0 == b.0);
    let ids: Vec<&str> = bad.iter().map(|(id, _)| id.as_str()).collect();
    let errors: Vec<String> = bad.iter().map(|(_, bad)| storable(&bad.error)).collect();
    let raws: Vec<String> = bad.iter().map(|(_, bad)| storable(&bad.raw)).collect();
    let data_type = table.data_type;
    tx.execute(QUARANTINE, &[&stamp.team.0, &data_type.as_str(), &ids, &errors, &raws]).await?;
    if has_absence(data_type) {
        let sql = of_table(MARK_QUARANTINED, data_type);
        tx.execute(&sql, &[&stamp.team.0, &ids, &stamp.fence.0]).await?;
    }
    Ok(())
}

/// Postgres stores no NUL in text, and nobody reads a megabyte.
fn storable(text: &str) -> String {
    let mut end = text.len().min(RAW_CAP);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

/// What moves in `vz_sync_data_types`.
pub(super) struct Touch<'a> {
    pub(super) scope: Scope,
    pub(super) mode: Mode,
    /// The listing was a complete full.
    pub(super) complete_full: bool,
    /// The apply wrote rows of the scope.
    pub(super) written: bool,
    pub(super) body: Option<&'a RawVersion>,
}

pub(super) async fn touch(
    tx: &Tx<'_>,
    stamp: Stamp,
    table: &TableApply,
    touch: &Touch<'_>,
) -> Result<(), Fault> {
    let counts = &table.counts;
    let verified: Option<OffsetDateTime> = table.verified.then_some(stamp.sent);
    let complete = touch.complete_full && table.verified;
    let body = touch.body.map(|body| body.0.as_slice());
    let shared = complete.then_some(counts.shared as i64);
    // Rows of the action history are never removed by a run: adding suffices,
    // and counting 90 days of them each time does not.
    let append_only = table.data_type == DataType::JobLogs;
    let recount = touch.written
        && !append_only
        && (counts.inserted + counts.returned + counts.stale > 0 || !table.stale.is_empty());
    let added = if append_only { counts.inserted as i64 } else { 0 };
    let sql = of_table(TOUCH_DATA_TYPE, table.data_type);
    tx.execute(
        &sql,
        &[
            &stamp.team.0,
            &table.data_type.as_str(),
            &touch.scope.as_str(),
            &verified,
            &touch.mode.as_str(),
            &complete,
            &stamp.fence.0,
            &touch.written,
            &body,
            &shared,
            &recount,
            &added,
        ],
    )
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantined_text_is_cut_at_a_letter_and_free_of_nul() {
        let long = "ä".repeat(RAW_CAP);
        assert_eq!(storable(&long).len(), RAW_CAP);
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
    }

    #[test]
    fn only_our_own_words_reach_a_statement() {
        for data_type in DataType::ALL {
            for sql in [MARK_STALE, MARK_DOUBTFUL] {
                let sql = of_table(sql, data_type);
                assert!(!sql.contains('{'), "{sql}");
            }
        }
    }
}
