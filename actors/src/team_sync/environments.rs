//! A full run of `environments`: the complete listing, compared with the
//! mirror as it arrives.
//!
//! A listing that is byte for byte the one which the mirror was last made
//! from is not planned at all: it only verifies.

use async_trait::async_trait;

use super::changes::Writer;
use super::removals::{self, Judged};
use super::run::{Run, WorkError};
use super::schedule;
use crate::domain::baseline::Baseline;
use crate::domain::event::Phase;
use crate::domain::item::{Element, Malformed};
use crate::domain::plan::{Absence, Planner};
use crate::domain::removal::{MissingReason, StaleReason};
use crate::domain::{
    Completeness, Counts, DataType, ExternalId, Failure, Mode, RawVersion, Refused,
};
use crate::ports::platform::{ElementSink, Listing, PlatformResult};
use crate::ports::store::{Apply, Cursor, TableApply, Upserts};

/// Reads the complete listing and plans its rows. `refused` is what is known
/// of the key so far.
pub(super) async fn full(run: &Run, mut refused: Refused) -> Result<Apply, WorkError> {
    let baseline = run.parts.ports.store.baseline(run.lease.name.key).await?;
    run.teller.enter(Phase::Fetch, run.lease.expected).await;
    let mut sink = Sink::new(run, &baseline);
    let listed = run.listing(&baseline, &mut sink, &mut refused).await;
    if let Some(error) = sink.broken.take() {
        return Err(error);
    }
    let listing = listed?;
    // A full is the truth at the moment it was asked for: the next delta
    // reads the history from there.
    let cursor = schedule::cursor(run, listing.platform_time, listing.sent_at);
    if says_what_is_stored(&listing, &baseline) {
        return Ok(verification(run, &baseline, &listing, cursor, refused));
    }
    let (planner, writer) = sink.into_plan();
    let planned = Planning {
        baseline: &baseline,
        absence: planner.finish(listing.completeness),
        writer,
        mode: Mode::Full,
        sent_at: listing.sent_at,
        body: listing.body,
        cursor,
        nodes_verified: true,
        refused,
    };
    planned.into_apply(run).await
}

/// Whether the listing is byte-equal to the one that the mirror shows, and
/// nothing in the mirror is in doubt.
fn says_what_is_stored(listing: &Listing, baseline: &Baseline) -> bool {
    listing.completeness.is_complete()
        && listing.body.is_some()
        && listing.body == baseline.body
        && !baseline.in_doubt()
}

/// The commit of a listing that says what is stored.
fn verification(
    run: &Run,
    baseline: &Baseline,
    listing: &Listing,
    cursor: Cursor,
    refused: Refused,
) -> Apply {
    let live = |data_type| {
        let rows = baseline.rows(data_type).into_iter().flatten();
        rows.filter(|(_, row)| !row.flags.stale).count() as u64
    };
    let table = |data_type, shared| {
        let unchanged = live(data_type);
        TableApply {
            data_type,
            verified: true,
            upserts: Upserts::Inline(Vec::new()),
            missing: Vec::new(),
            stale: Vec::new(),
            quarantined: Vec::new(),
            counts: Counts { listed: unchanged + shared, unchanged, shared, ..Counts::default() },
        }
    };
    let tables =
        vec![table(DataType::Environments, listing.counts.shared), table(DataType::Nodes, 0)];
    let mut counts = Counts::default();
    for table in &tables {
        counts += table.counts;
    }
    Apply {
        lease: run.lease.name,
        mode: Mode::Full,
        sent_at: listing.sent_at,
        completeness: Completeness::Complete,
        doubt: None,
        tables,
        holds: Vec::new(),
        annotations: Vec::new(),
        body: None,
        due: schedule::next_due(run, Mode::Full),
        cursor: Some(cursor),
        refused,
        changed: Vec::new(),
        truncated: false,
        counts,
        wake: None,
    }
}

/// Everything that was planned and not yet judged; full and delta end alike.
pub(super) struct Planning<'a> {
    pub(super) baseline: &'a Baseline,
    pub(super) absence: Absence,
    pub(super) writer: Writer,
    pub(super) mode: Mode,
    pub(super) sent_at: tokio::time::Instant,
    pub(super) body: Option<RawVersion>,
    pub(super) cursor: Cursor,
    /// Whether the run may move the nodes' `verified_at` at all.
    pub(super) nodes_verified: bool,
    pub(super) refused: Refused,
}

impl Planning<'_> {
    /// Judges what is absent and assembles the commit.
    pub(super) async fn into_apply(self, run: &Run) -> Result<Apply, WorkError> {
        let Self { baseline, mut absence, mut writer, .. } = self;
        let Judged { environments, nodes, completeness } =
            removals::judge(run, baseline, &mut absence).await?;
        let gone = |missing: &[(ExternalId, MissingReason)],
                    stale: &[(ExternalId, StaleReason)]| {
            let ids = missing.iter().map(|(id, _)| id).chain(stale.iter().map(|(id, _)| id));
            ids.cloned().collect::<Vec<_>>()
        };
        for id in gone(&environments.missing, &environments.stale) {
            writer.note_changed(DataType::Environments, &id);
        }
        for id in gone(&nodes.missing, &nodes.stale) {
            writer.note_changed(DataType::Nodes, &id);
        }
        let mut written = writer.finish().await?;
        let complete = completeness.is_complete();
        let nodes_complete = complete && absence.nodes_complete;
        // What it left open must be looked at again, however equal its bytes.
        let settled = nodes_complete && absence.quarantined.is_empty();
        let (mut environment_counts, mut node_counts) =
            (absence.environment_counts, absence.node_counts);
        environment_counts += environments.counts();
        node_counts += nodes.counts();
        let mut counts = environment_counts;
        counts += node_counts;
        let (bad_nodes, bad_environments): (Vec<Malformed>, Vec<Malformed>) =
            absence.quarantined.into_iter().partition(|bad| bad.data_type == DataType::Nodes);
        let mut holds = environments.holds;
        holds.extend(nodes.holds);
        run.teller.enter(Phase::Apply, Some(counts.changed())).await;
        let doubt = schedule::doubt(run, &completeness);
        Ok(Apply {
            lease: run.lease.name,
            mode: self.mode,
            sent_at: self.sent_at,
            body: self.body.filter(|_| settled),
            cursor: complete.then_some(self.cursor).or(run.lease.cursor),
            refused: self.refused,
            completeness,
            tables: vec![
                TableApply {
                    data_type: DataType::Environments,
                    verified: complete,
                    upserts: written.of(DataType::Environments),
                    missing: environments.missing,
                    stale: environments.stale,
                    quarantined: bad_environments,
                    counts: environment_counts,
                },
                TableApply {
                    data_type: DataType::Nodes,
                    verified: nodes_complete && self.nodes_verified,
                    upserts: written.of(DataType::Nodes),
                    missing: nodes.missing,
                    stale: nodes.stale,
                    quarantined: bad_nodes,
                    counts: node_counts,
                },
            ],
            holds,
            annotations: Vec::new(),
            due: schedule::due(run, self.mode, doubt.as_ref()),
            doubt,
            changed: written.changed,
            truncated: written.truncated,
            counts,
            wake: None,
        })
    }
}

/// Plans and stages elements while the download goes on.
///
/// As long as nothing but byte-equal elements and those of others came, there
/// is nothing to plan yet, and perhaps there never will be.
pub(super) struct Sink<'a> {
    run: &'a Run,
    baseline: &'a Baseline,
    writer: Writer,
    unplanned: Vec<Element>,
    planner: Option<Planner<'a>>,
    /// Why the writer gave up; the platform's own error only echoes it.
    broken: Option<WorkError>,
}

impl<'a> Sink<'a> {
    fn new(run: &'a Run, baseline: &'a Baseline) -> Self {
        let writer = Writer::new(run, !run.first_load());
        Self { run, baseline, writer, unplanned: Vec::new(), planner: None, broken: None }
    }

    /// The planner, to which everything was shown that came so far.
    fn planner(&mut self) -> &mut Planner<'a> {
        let planner = self.planner.get_or_insert_with(|| Planner::new(self.baseline));
        for element in std::mem::take(&mut self.unplanned) {
            // Nothing of these is ever written.
            planner.accept(element);
        }
        planner
    }

    fn into_plan(mut self) -> (Planner<'a>, Writer) {
        self.planner();
        let planner = self.planner.unwrap_or_else(|| Planner::new(self.baseline));
        (planner, self.writer)
    }

    /// Rows seen so far, for progress. What was not planned counts with the
    /// nodes that an environment has on average: to count them would cost what
    /// not planning saves.
    fn seen(&self) -> u64 {
        let environments = self.baseline.environments.len().max(1);
        let rows = environments + self.baseline.nodes.len();
        let unplanned = self.unplanned.len() * rows / environments;
        unplanned as u64 + self.planner.as_ref().map_or(0, Planner::seen)
    }
}

#[async_trait]
impl ElementSink for Sink<'_> {
    async fn accept(&mut self, batch: Vec<Element>) -> PlatformResult<()> {
        for element in batch {
            let idle = matches!(element, Element::Same(_) | Element::Shared { .. });
            if idle && self.planner.is_none() {
                self.unplanned.push(element);
                continue;
            }
            let planned = self.planner().accept(element);
            if planned.is_empty() {
                continue;
            }
            if let Err(error) = self.writer.add(planned).await {
                self.broken = Some(error);
                return Err(Failure::internal(
                    "sink_closed",
                    "the rows of the listing could not be kept",
                ));
            }
        }
        self.run.teller.done(self.seen()).await;
        Ok(())
    }
}
