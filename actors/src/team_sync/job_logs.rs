//! The action history: an append-only window, read page by page.
//!
//! A full reads the whole retention window, a delta from the cursor less an
//! overlap. It is complete when every page of the window came. Nothing is
//! ever removed here: the janitor trims by age.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::run::{Run, WorkError};
use super::schedule;
use crate::domain::event::{ChangedId, MAX_CHANGED_IDS, Phase};
use crate::domain::item::Item;
use crate::domain::{Completeness, Counts, DataType, ExternalId, Mode, PartialReason};
use crate::ports::platform::ActionQuery;
use crate::ports::store::{Apply, Cursor, TableApply, Upsert, UpsertKind, Upserts};

/// Pages after which a window is given up as endless.
const MAX_PAGES: u64 = 2000;

/// A window of the history as it was read.
pub(super) struct History {
    pub(super) items: Vec<Item>,
    pub(super) malformed: Vec<crate::domain::item::Malformed>,
    pub(super) completeness: Completeness,
    pub(super) sent_at: Instant,
}

/// Least difference of the clocks that is believed; a date has whole seconds,
/// and an answer takes its time.
const SKEW: time::Duration = time::Duration::seconds(5);

/// Reads a window of the history, every page of it. `from` is our time: where
/// the platform's clock differs by more than the overlap makes up for, the
/// window is moved, or it would miss what has just happened.
pub(super) async fn history(
    run: &Run,
    from: OffsetDateTime,
    action: Option<&str>,
) -> Result<History, WorkError> {
    let settings = &run.parts.settings;
    let mut by_id: HashMap<ExternalId, Item> = HashMap::new();
    let mut malformed = Vec::new();
    let mut completeness = Completeness::Complete;
    let mut sent_at = None;
    let (mut row, mut pages) = (0u64, 0u64);
    let tolerated = SKEW.max(settings.history_overlap.try_into().unwrap_or(SKEW) / 2);
    let mut skew = None;
    loop {
        let query = ActionQuery {
            from: from + skew.unwrap_or(time::Duration::ZERO),
            until: None,
            start_row: row,
            rows: settings.history_page,
            action: action.map(str::to_owned),
        };
        let ask = || run.parts.ports.platform.actions(&run.access, &query);
        // The first page may step aside for the limit, the others may not.
        let page = if pages == 0 { ask().await? } else { run.patiently(ask).await? };
        if let (None, Some(clock)) = (skew, page.clock) {
            // No more than it is ahead, since it was told before now.
            let ahead = clock - run.database_now();
            let ahead = if ahead.abs() > tolerated { ahead } else { time::Duration::ZERO };
            skew = Some(ahead);
            if !ahead.is_zero() {
                continue;
            }
        }
        sent_at.get_or_insert(page.sent_at);
        completeness = completeness.and(page.completeness);
        let got = (page.items.len() + page.malformed.len()) as u64;
        // New actions shift the pages while they are read: a row may come
        // twice, and the overlap of the next delta catches what slipped.
        by_id.extend(page.items.into_iter().map(|item| (item.id.clone(), item)));
        malformed.extend(page.malformed);
        row += got;
        pages += 1;
        run.teller.done(row).await;
        if got == 0 && row < page.total {
            completeness = completeness.and(Completeness::Partial(PartialReason::PageMissing));
        }
        if got == 0 || row >= page.total {
            break;
        }
        if pages >= MAX_PAGES {
            completeness = completeness.and(Completeness::Partial(PartialReason::LimitReached));
            break;
        }
    }
    let mut items: Vec<Item> = by_id.into_values().collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    let sent_at = sent_at.unwrap_or_else(Instant::now);
    Ok(History { items, malformed, completeness, sent_at })
}

/// Reads the history and plans its rows.
pub(super) async fn read(run: &Run) -> Result<Apply, WorkError> {
    let lease = &run.lease;
    let (key, settings) = (lease.name.key, &run.parts.settings);
    run.teller.enter(Phase::Fetch, None).await;
    let now = run.database_now();
    let cursor = lease.cursor.as_ref().and_then(|cursor| cursor.history_until);
    let from = match (lease.mode, cursor) {
        (Mode::Delta, Some(until)) => until - settings.history_overlap,
        (Mode::Delta, None) | (Mode::Full, _) => now - settings.history_window,
    };
    let history = history(run, from, None).await?;
    let mut counts = Counts {
        listed: (history.items.len() + history.malformed.len()) as u64,
        quarantined: history.malformed.len() as u64,
        ..Counts::default()
    };
    let ids: Vec<ExternalId> = history.items.iter().map(|item| item.id.clone()).collect();
    let known: HashMap<_, _> =
        run.parts.ports.store.known(key.team, DataType::JobLogs, &ids).await?.into_iter().collect();
    let mut upserts = Vec::new();
    for item in history.items {
        let kind = match known.get(&item.id) {
            None => UpsertKind::Insert,
            Some(version) if *version != item.source_version => UpsertKind::Update,
            Some(_) => {
                counts.unchanged += 1;
                continue;
            }
        };
        match kind {
            UpsertKind::Insert => counts.inserted += 1,
            UpsertKind::Update | UpsertKind::Return => counts.updated += 1,
        }
        // The history is its own history: no change rows.
        upserts.push(Upsert { item, kind, change: None });
    }
    run.teller.enter(Phase::Apply, Some(upserts.len() as u64)).await;
    let complete = history.completeness.is_complete();
    let changed: Vec<ChangedId> = upserts
        .iter()
        .take(MAX_CHANGED_IDS)
        .map(|upsert| ChangedId { data_type: DataType::JobLogs, id: upsert.item.id.clone() })
        .collect();
    let until = run.database_time(history.sent_at);
    let mut next = lease.cursor.clone().unwrap_or_default();
    if complete {
        next = Cursor { history_until: Some(until), ..next };
    }
    Ok(Apply {
        lease: lease.name,
        mode: lease.mode,
        sent_at: history.sent_at,
        doubt: schedule::doubt(run, &history.completeness),
        completeness: history.completeness,
        truncated: upserts.len() > changed.len(),
        changed,
        tables: vec![TableApply {
            data_type: DataType::JobLogs,
            verified: complete,
            upserts: Upserts::Inline(upserts),
            missing: Vec::new(),
            stale: Vec::new(),
            quarantined: history.malformed,
            unseen: Vec::new(),
            counts,
        }],
        holds: Vec::new(),
        annotations: Vec::new(),
        body: None,
        due: schedule::next_due(run, lease.mode),
        cursor: Some(next),
        counts,
        wake: None,
    })
}
