//! The action history: an append-only window, read page by page.
//!
//! A full reads the whole retention window, a delta from the cursor less an
//! overlap. It is complete when every page of the window came. Only one page
//! is held at a time: a long history goes to staging on the way. Nothing is
//! ever removed here: the janitor trims by age.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::changes::Writer;
use super::refusals::is_refusal;
use super::run::{Run, WorkError};
use super::schedule;
use crate::domain::event::Phase;
use crate::domain::item::{Item, Malformed};
use crate::domain::plan::Planned;
use crate::domain::{
    Capability, Completeness, Counts, DataType, ExternalId, Mode, PartialReason, Refused,
};
use crate::ports::platform::ActionQuery;
use crate::ports::store::{Apply, TableApply, UpsertKind};

/// Pages after which a window is given up as endless.
const MAX_PAGES: u64 = 2000;

/// Receives the pages of a window in order.
#[async_trait]
pub(super) trait Pages: Send {
    /// Takes a page. New actions shift the pages while they are read: an
    /// action may come twice, and what slipped through the overlap of the next
    /// delta catches.
    async fn take(&mut self, items: Vec<Item>) -> Result<(), WorkError>;
}

/// How a window of the history was read.
pub(super) struct History {
    pub(super) malformed: Vec<Malformed>,
    pub(super) completeness: Completeness,
    pub(super) sent_at: Instant,
    /// The platform's clock at that moment, or a little before.
    pub(super) platform_time: Option<OffsetDateTime>,
}

/// Reads a window of the history, every page of it; `None` when the key may
/// not.
pub(super) async fn history(
    run: &Run,
    from: OffsetDateTime,
    pages: &mut dyn Pages,
    refused: &mut Refused,
) -> Result<Option<History>, WorkError> {
    let rows = run.parts.settings.history_page;
    let mut history: Option<History> = None;
    let (mut start_row, mut read) = (0u64, 0u64);
    loop {
        let query = ActionQuery { from, start_row, rows };
        let ask = || run.parts.ports.platform.actions(&run.access, &query);
        let page = run.patiently(ask).await;
        run.learn(refused, Capability::SearchActions, &page);
        let page = match page {
            Err(failure) if is_refusal(&failure) => return Ok(None),
            page => page?,
        };
        let so_far = history.get_or_insert_with(|| History {
            malformed: Vec::new(),
            completeness: Completeness::Complete,
            sent_at: page.sent_at,
            platform_time: page.platform_time,
        });
        let mut doubt = page.completeness;
        let got = (page.items.len() + page.malformed.len()) as u64;
        start_row += got;
        read += 1;
        let more = start_row < page.total;
        if got == 0 && more {
            doubt = doubt.and(Completeness::Partial(PartialReason::PageMissing));
        } else if more && read >= MAX_PAGES {
            doubt = doubt.and(Completeness::Partial(PartialReason::LimitReached));
        }
        so_far.completeness = so_far.completeness.clone().and(doubt);
        so_far.malformed.extend(page.malformed);
        pages.take(page.items).await?;
        run.teller.done(start_row).await;
        if got == 0 || !more || read >= MAX_PAGES {
            return Ok(history);
        }
    }
}

/// Reads the history and plans its rows.
pub(super) async fn read(run: &Run) -> Result<Apply, WorkError> {
    let (lease, settings) = (&run.lease, &run.parts.settings);
    run.teller.enter(Phase::Fetch, None).await;
    let began = Instant::now();
    let mut refused = lease.refused.clone();
    let cursor = lease.cursor.and_then(|cursor| cursor.history_until);
    let from = match (lease.mode, cursor) {
        (Mode::Delta, Some(until)) => until - settings.history_overlap,
        (Mode::Delta, None) | (Mode::Full, _) => run.database_now() - settings.history_window,
    };
    let mut rows = Rows {
        run,
        // The history is its own history: no change rows.
        writer: Writer::new(run, false),
        listed: HashSet::new(),
        counts: Counts::default(),
    };
    let history = if run.does_without(&refused, Capability::SearchActions) {
        None
    } else {
        history(run, from, &mut rows, &mut refused).await?
    };
    let Rows { writer, mut counts, listed, .. } = rows;
    // A history that the key may not read is no failure, and no news either.
    let mut history = history.unwrap_or_else(|| History {
        malformed: Vec::new(),
        completeness: Completeness::Partial(PartialReason::CapabilityMissing),
        sent_at: began,
        platform_time: None,
    });
    // An action that came again and could be read is good.
    history.malformed.retain(|bad| bad.id.as_ref().is_none_or(|id| !listed.contains(id)));
    counts.listed += history.malformed.len() as u64;
    counts.quarantined += history.malformed.len() as u64;
    let mut written = writer.finish().await?;
    run.teller.enter(Phase::Apply, Some(counts.changed())).await;
    let complete = history.completeness.is_complete();
    let next = schedule::cursor(run, history.platform_time, history.sent_at);
    let doubt = schedule::doubt(run, &history.completeness);
    Ok(Apply {
        lease: lease.name,
        mode: lease.mode,
        sent_at: history.sent_at,
        due: schedule::due(run, lease.mode, doubt.as_ref()),
        doubt,
        completeness: history.completeness,
        tables: vec![TableApply {
            data_type: DataType::JobLogs,
            verified: complete,
            upserts: written.of(DataType::JobLogs),
            missing: Vec::new(),
            stale: Vec::new(),
            quarantined: history.malformed,
            counts,
        }],
        truncated: written.truncated,
        changed: written.changed,
        holds: Vec::new(),
        annotations: Vec::new(),
        body: None,
        cursor: if complete { Some(next) } else { lease.cursor },
        refused,
        counts,
        wake: None,
    })
}

/// Plans the rows of each page as it comes.
struct Rows<'a> {
    run: &'a Run,
    writer: Writer,
    /// Every action so far: one that comes twice counts once.
    listed: HashSet<ExternalId>,
    counts: Counts,
}

#[async_trait]
impl Pages for Rows<'_> {
    async fn take(&mut self, items: Vec<Item>) -> Result<(), WorkError> {
        let store = &self.run.parts.ports.store;
        let team = self.run.lease.name.key.team;
        let ids: Vec<ExternalId> = items.iter().map(|item| item.id.clone()).collect();
        let known = store.known(team, DataType::JobLogs, &ids).await?;
        let known: HashMap<_, _> = known.into_iter().collect();
        let mut planned = Vec::new();
        for item in items {
            let first = self.listed.insert(item.id.clone());
            self.counts.listed += u64::from(first);
            let kind = match known.get(&item.id) {
                None => UpsertKind::Insert,
                Some(version) if *version != item.source_version => UpsertKind::Update,
                Some(_) => {
                    self.counts.unchanged += u64::from(first);
                    continue;
                }
            };
            match kind {
                UpsertKind::Insert => self.counts.inserted += u64::from(first),
                UpsertKind::Update | UpsertKind::Return => {
                    self.counts.updated += u64::from(first);
                }
            }
            planned.push(Planned { item, kind });
        }
        self.writer.add(planned).await
    }
}
