//! A full run of `environments`: the complete listing, compared with the
//! mirror as it arrives.

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
use crate::domain::{DataType, ExternalId, Mode, RawVersion};
use crate::ports::platform::{ElementSink, PlatformResult};
use crate::ports::store::{Apply, Cursor, TableApply};

/// Reads the complete listing and plans its rows.
pub(super) async fn full(run: &Run) -> Result<Apply, WorkError> {
    let baseline = run.parts.ports.store.baseline(run.lease.name.key).await?;
    let mut planner = Planner::new(&baseline, baseline.is_empty());
    let mut writer = Writer::new(run, planner.wants_changes());
    run.teller.enter(Phase::Fetch, run.lease.expected).await;
    let mut sink = Sink { run, planner: &mut planner, writer: &mut writer, broken: None };
    let listed = run.parts.ports.platform.environments(&run.access, &baseline, &mut sink).await;
    if let Some(error) = sink.broken.take() {
        return Err(error);
    }
    let listing = listed?;
    let absence = planner.finish(listing.completeness);
    // A full is the truth at the moment it was asked for: the next delta
    // reads the history from there.
    let cursor = Cursor {
        history_until: Some(run.database_time(listing.sent_at)),
        tracking_refused: run.lease.cursor.as_ref().is_some_and(|cursor| cursor.tracking_refused),
    };
    let planned = Planning {
        baseline: &baseline,
        absence,
        writer,
        mode: Mode::Full,
        sent_at: listing.sent_at,
        body: listing.body,
        cursor,
        nodes_verified: true,
    };
    planned.into_apply(run).await
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
        let written = writer.finish().await?;
        let complete = completeness.is_complete();
        let nodes_complete = complete && absence.nodes_completeness.is_complete();
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
        Ok(Apply {
            lease: run.lease.name,
            mode: self.mode,
            sent_at: self.sent_at,
            doubt: schedule::doubt(run, &completeness),
            body: self.body.filter(|_| complete),
            cursor: complete.then_some(self.cursor).or_else(|| run.lease.cursor.clone()),
            completeness,
            tables: vec![
                TableApply {
                    data_type: DataType::Environments,
                    verified: complete,
                    upserts: written.environments,
                    missing: environments.missing,
                    stale: environments.stale,
                    quarantined: bad_environments,
                    unseen: Vec::new(),
                    counts: environment_counts,
                },
                TableApply {
                    data_type: DataType::Nodes,
                    verified: nodes_complete && self.nodes_verified,
                    upserts: written.nodes,
                    missing: nodes.missing,
                    stale: nodes.stale,
                    quarantined: bad_nodes,
                    unseen: absence.unseen_nodes,
                    counts: node_counts,
                },
            ],
            holds,
            annotations: Vec::new(),
            due: schedule::next_due(run, self.mode),
            changed: written.changed,
            truncated: written.truncated,
            counts,
            wake: None,
        })
    }
}

/// Plans and stages elements while the download goes on.
struct Sink<'a, 'b> {
    run: &'a Run,
    planner: &'a mut Planner<'b>,
    writer: &'a mut Writer,
    /// Why the writer gave up; the platform's own error only echoes it.
    broken: Option<WorkError>,
}

#[async_trait]
impl ElementSink for Sink<'_, '_> {
    async fn accept(&mut self, batch: Vec<Element>) -> PlatformResult<()> {
        for element in batch {
            let planned = self.planner.accept(element);
            if planned.is_empty() {
                continue;
            }
            if let Err(error) = self.writer.add(planned).await {
                self.broken = Some(error);
                return Err(crate::domain::Failure::internal(
                    "sink_closed",
                    "the rows of the listing could not be kept",
                ));
            }
        }
        self.run.teller.done(self.planner.seen()).await;
        Ok(())
    }
}
