//! A delta run of `environments`: the details of what may have changed.
//!
//! What may have changed is what the action history names since the cursor
//! (less an overlap), what is under way now, what was unsettled or in doubt
//! before, and what looks different in the outlines, the lazy listing of all.
//! The outlines alone vouch for environments. For nodes the history must be
//! gapless too, and every candidate must have answered.
//!
//! The outlines of a big team cost a good part of a full listing, so a delta
//! leaves them out where the history is gapless and nobody waits for a younger
//! answer. It then vouches for nothing and removes no environment: one that
//! looks gone, or says that it has no nodes left, makes it list after all. A delta that is not worth its requests reads
//! the full listing instead ([`worth`](crate::domain::worth)).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::changes::Writer;
use super::environments::{self, Planning};
use super::run::{Run, WorkError};
use super::{job_logs, schedule};
use crate::domain::baseline::Baseline;
use crate::domain::event::Phase;
use crate::domain::item::{Columns, Element};
use crate::domain::plan::{OutlineVerdict, Planner};
use crate::domain::worth::{Cost, Known, Wish};
use crate::domain::{
    Class, Completeness, ExternalId, Failure, FailureClass, Mode, PartialReason, status,
};
use crate::ports::platform::{ActionTarget, Lookup, Outlines};
use crate::ports::store::{Apply, Cursor};
use tokio::time::Instant;

/// What the action history says was touched.
#[derive(Default)]
struct Touched {
    targets: Vec<ActionTarget>,
    /// Whether it vouches for everything since the cursor.
    gapless: bool,
    /// Whether the token may not read it.
    refused: bool,
}

/// Reads what may have changed and plans its rows.
pub(super) async fn delta(run: &Run) -> Result<Apply, WorkError> {
    let ports = &run.parts.ports;
    let baseline = ports.store.baseline(run.lease.name.key).await?;
    run.teller.enter(Phase::Fetch, None).await;
    // Everything is vouched for as of the first request.
    let sent_at = Instant::now();
    let touched = touched(run).await?;
    let planner = Planner::new(&baseline, baseline.is_empty());
    let writer = Writer::new(run, planner.wants_changes());
    let mut details = Details { run, planner, writer, answered: HashSet::new(), settled: true };

    let live = baseline.environments.values().filter(|row| !row.flags.stale).count();
    let before = run.lease.cursor.clone().unwrap_or_default();
    let known = Known {
        gapless: touched.gapless,
        environments: live,
        listed_ago: before.listed_at.map(|at| {
            std::time::Duration::try_from(run.database_time(sent_at) - at).unwrap_or_default()
        }),
    };
    let mut cursor = Cursor {
        history_until: touched.gapless.then(|| run.database_time(sent_at)),
        tracking_refused: touched.refused,
        ..before
    };
    let rules = &run.parts.settings.delta;
    if !rules.lists(wish(run), &known) {
        let named = named(run, &baseline, &details.planner, &touched);
        if !rules.worth(named.len(), live) || !details.ask(named).await? {
            return environments::full(run).await;
        }
        if details.settled && !details.planner.any_emptied() {
            let not_listed = Completeness::Partial(PartialReason::NotListed);
            let absence = details.planner.finish(not_listed);
            let planning = Planning {
                baseline: &baseline,
                absence,
                writer: details.writer,
                mode: Mode::Delta,
                sent_at,
                body: None,
                cursor,
                nodes_verified: false,
            };
            return planning.into_apply(run).await;
        }
    }

    let outlines = run.patiently(|| ports.platform.outlines(&run.access)).await?;
    let candidates = details.candidates(&baseline, &touched, &outlines);
    details.settled = true;
    if !rules.worth(candidates.len(), outlines.outlines.len()) || !details.ask(candidates).await? {
        return environments::full(run).await;
    }
    let absence = details.planner.finish(outlines.completeness);
    cursor.listed_at = Some(run.database_time(sent_at));
    let planning = Planning {
        baseline: &baseline,
        absence,
        writer: details.writer,
        mode: Mode::Delta,
        sent_at,
        body: None,
        // A gap in the history is closed by the next full only.
        cursor,
        nodes_verified: touched.gapless && details.settled,
    };
    planning.into_apply(run).await
}

/// Who wants this delta.
fn wish(run: &Run) -> Wish {
    let lease = &run.lease;
    match (lease.requested_at, lease.class, lease.asked) {
        (None, ..) => Wish::Schedule,
        (Some(_), Class::Manual, Some(Mode::Delta)) => Wish::Changes,
        (Some(_), ..) => Wish::Verified,
    }
}

/// Names to ask for, each with the live row that should answer to it.
type Asks = BTreeMap<String, Option<ExternalId>>;

/// What may have changed as far as can be told without a listing.
fn named(run: &Run, baseline: &Baseline, planner: &Planner<'_>, touched: &Touched) -> Asks {
    let mut by_name: HashMap<&str, &ExternalId> = HashMap::new();
    let mut asks = Asks::new();
    for (id, row) in baseline.environments.iter().filter(|(_, row)| !row.flags.stale) {
        let Some(name) = &row.env_name else { continue };
        by_name.insert(name, id);
        if planner.is_unsettled(id) {
            asks.insert(name.clone(), Some(id.clone()));
        }
    }
    for target in &touched.targets {
        let row = target.id.as_ref().and_then(|id| Some((id, baseline.environments.get(id)?)));
        if let Some((id, row)) = row.filter(|(_, row)| !row.flags.stale)
            && let Some(name) = &row.env_name
        {
            asks.insert(name.clone(), Some(id.clone()));
        } else if let Some(name) = &target.env_name {
            let expected = by_name.get(name.as_str()).map(|id| (*id).clone());
            asks.entry(name.clone()).or_insert(expected);
        } else if let Some(id) = &target.id {
            // The platform takes the appid for the name.
            asks.entry(id.as_str().to_owned()).or_insert(None);
        }
    }
    for hint in &run.lease.environments {
        let expected = by_name.get(hint.as_str()).map(|id| (*id).clone());
        asks.entry(hint.clone()).or_insert(expected);
    }
    asks
}

/// The details of a run as they come in.
struct Details<'a, 'b> {
    run: &'a Run,
    planner: Planner<'b>,
    writer: Writer,
    /// Environments that answered to their name.
    answered: HashSet<ExternalId>,
    /// Whether every live row that was asked for answered as itself.
    settled: bool,
}

impl Details<'_, '_> {
    /// Asks for each; `false` when the full listing is the better deal.
    async fn ask(&mut self, asks: Asks) -> Result<bool, WorkError> {
        let (run, rules) = (self.run, &self.run.parts.settings.delta);
        let full_took = run.lease.cursor.as_ref().and_then(|cursor| cursor.full_took());
        let (began, mut cost) = (Instant::now(), Cost::default());
        let all = asks.len();
        run.teller.enter(Phase::Fetch, Some(all as u64)).await;
        for (done, (name, expected)) in asks.into_iter().enumerate() {
            let ask = || run.parts.ports.platform.environment(&run.access, &name);
            let answer = run.patiently(ask).await?;
            if let Lookup::Found { sent_at, .. } = &answer {
                cost.details += 1;
                cost.platform += sent_at.elapsed();
                cost.elapsed = began.elapsed();
            }
            self.take(answer, expected).await?;
            run.teller.done(done as u64 + 1).await;
            if !rules.still_worth(all, &cost, full_took) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn take(
        &mut self,
        answer: Lookup,
        expected: Option<ExternalId>,
    ) -> Result<(), WorkError> {
        let element = match answer {
            Lookup::Found { element, .. } => element,
            // Gone, or not made yet: a listing judges rows that it knows.
            Lookup::Gone => {
                self.settled &= expected.is_none();
                return Ok(());
            }
        };
        let own = schedule::own_id(&element);
        // A row whose element cannot be read is marked, and asked for again.
        self.settled &= expected.is_none() || own == expected.as_ref() || is_malformed(&element);
        self.answered.extend(own.cloned());
        let planned = self.planner.accept(element);
        self.writer.add(planned).await
    }

    /// What may have changed as far as the outlines and the rest can tell.
    fn candidates(&mut self, baseline: &Baseline, touched: &Touched, outlines: &Outlines) -> Asks {
        let hints = self.run.lease.environments.iter().map(String::as_str);
        let (mut names, mut ids): (HashSet<&str>, HashSet<&str>) =
            (hints.collect(), HashSet::new());
        names.extend(touched.targets.iter().filter_map(|target| target.env_name.as_deref()));
        ids.extend(touched.targets.iter().filter_map(|target| Some(target.id.as_ref()?.as_str())));
        let mut asks = Asks::new();
        for outline in &outlines.outlines {
            let verdict =
                self.planner.accept_outline(&outline.id, &outline.version, outline.status);
            let stored = baseline.environments.get(&outline.id).and_then(|row| row.status);
            let unsettled = status::status(outline.status).transient
                || stored.is_some_and(|code| status::status(code).transient);
            if (verdict != OutlineVerdict::Same
                || unsettled
                || names.contains(outline.env_name.as_str())
                || ids.contains(outline.id.as_str()))
                && !self.answered.contains(&outline.id)
            {
                asks.insert(outline.env_name.clone(), Some(outline.id.clone()));
            }
        }
        asks
    }
}

const fn is_malformed(element: &Element) -> bool {
    matches!(element, Element::Malformed(_))
}

/// Reads the action history since the cursor, and what is under way.
async fn touched(run: &Run) -> Result<Touched, WorkError> {
    let cursor = run.lease.cursor.clone().unwrap_or_default();
    let refused = |touched| Ok(Touched { refused: true, gapless: false, ..touched });
    let mut touched = Touched { refused: cursor.tracking_refused, ..Touched::default() };
    let Some(until) = cursor.history_until.filter(|_| !cursor.tracking_refused) else {
        return Ok(touched);
    };
    let from = until - run.parts.settings.history_overlap;
    let history = match job_logs::history(run, from, None).await {
        Ok(history) => history,
        Err(WorkError::Failed(failure)) if is_refusal(&failure) => return refused(touched),
        Err(error) => return Err(error),
    };
    // An action that cannot be read may name anything.
    touched.gapless = history.completeness.is_complete() && history.malformed.is_empty();
    for item in history.items {
        if let Columns::JobLog(log) = item.columns {
            touched.targets.push(ActionTarget { id: log.environment, env_name: log.env_name });
        }
    }
    let ask = || run.parts.ports.platform.current_actions(&run.access);
    match run.patiently(ask).await {
        Ok(targets) => touched.targets.extend(targets),
        Err(failure) if is_refusal(&failure) => return refused(touched),
        Err(failure) => return Err(failure.into()),
    }
    Ok(touched)
}

fn is_refusal(failure: &Failure) -> bool {
    failure.class == FailureClass::Capability
}
