//! A delta run of `environments`: the outlines, and the details of what may
//! have changed.
//!
//! What may have changed is what the action history names since the cursor
//! (less an overlap), what is under way now, what looks different in outline,
//! and what was unsettled or in doubt before. The outlines alone vouch for
//! environments. For nodes the history must be gapless too, and every
//! candidate must have answered. A delta that is not worth its requests reads
//! the full listing instead.

use std::collections::HashSet;

use super::changes::Writer;
use super::environments::{self, Planning};
use super::run::{Run, WorkError};
use super::{job_logs, schedule};
use crate::domain::event::Phase;
use crate::domain::item::Columns;
use crate::domain::plan::{OutlineVerdict, Planner};
use crate::domain::{Failure, FailureClass, Mode, status};
use crate::ports::platform::{ActionTarget, Lookup, Outline};
use crate::ports::store::{Apply, Cursor};
use tokio::time::Instant;

/// Up to this many details are asked for whatever share of the team they are.
const ALWAYS_WORTH: usize = 20;

/// What the action history says was touched.
#[derive(Default)]
struct Touched {
    ids: HashSet<String>,
    names: HashSet<String>,
    /// Whether it vouches for everything since the cursor.
    gapless: bool,
    /// Whether the token may not read it.
    refused: bool,
}

impl Touched {
    fn add(&mut self, target: &ActionTarget) {
        self.ids.extend(target.id.as_ref().map(|id| id.as_str().to_owned()));
        self.names.extend(target.env_name.clone());
    }

    fn has(&self, outline: &Outline) -> bool {
        self.ids.contains(outline.id.as_str()) || self.names.contains(&outline.env_name)
    }
}

/// Reads what may have changed and plans its rows.
pub(super) async fn delta(run: &Run) -> Result<Apply, WorkError> {
    let ports = &run.parts.ports;
    let baseline = ports.store.baseline(run.lease.name.key).await?;
    run.teller.enter(Phase::Fetch, None).await;
    // Everything is vouched for as of the first request.
    let sent_at = Instant::now();
    let touched = touched(run).await?;
    let outlines = match run.patiently(|| ports.platform.outlines(&run.access)).await {
        // What a delta asks is refused to this token: a full asks otherwise.
        Err(failure) if is_refusal(&failure) => return environments::full(run).await,
        outlines => outlines?,
    };
    let mut planner = Planner::new(&baseline, baseline.is_empty());
    let mut writer = Writer::new(run, planner.wants_changes());
    let hints: HashSet<&str> = run.lease.environments.iter().map(String::as_str).collect();
    let mut candidates: Vec<&Outline> = Vec::new();
    for outline in &outlines.outlines {
        let verdict = planner.accept_outline(&outline.id, &outline.version, outline.status);
        let stored = baseline.environments.get(&outline.id).and_then(|row| row.status);
        let unsettled = status::status(outline.status).transient
            || stored.is_some_and(|code| status::status(code).transient);
        if verdict != OutlineVerdict::Same
            || unsettled
            || touched.has(outline)
            || hints.contains(outline.env_name.as_str())
        {
            candidates.push(outline);
        }
    }
    let share = usize::from(run.parts.settings.delta_max_percent);
    if candidates.len() > ALWAYS_WORTH && candidates.len() * 100 > outlines.outlines.len() * share {
        return environments::full(run).await;
    }
    run.teller.enter(Phase::Fetch, Some(candidates.len() as u64)).await;
    let mut all_answered = true;
    for (done, outline) in candidates.iter().enumerate() {
        let ask = || ports.platform.environment(&run.access, &outline.env_name);
        match run.patiently(ask).await {
            Ok(Lookup::Found { element, .. }) => {
                all_answered &= schedule::own_id(&element) == Some(&outline.id);
                let planned = planner.accept(element);
                writer.add(planned).await?;
            }
            // Gone since the outlines were read: the next run judges it.
            Ok(Lookup::Gone) => all_answered = false,
            // Before anything was planned: the first question is the one refused.
            Err(failure) if is_refusal(&failure) && done == 0 => {
                return environments::full(run).await;
            }
            Err(failure) => return Err(failure.into()),
        }
        run.teller.done(done as u64 + 1).await;
    }
    let absence = planner.finish(outlines.completeness);
    let cursor = Cursor {
        history_until: Some(run.database_time(sent_at)),
        tracking_refused: touched.refused,
    };
    let planning = Planning {
        baseline: &baseline,
        absence,
        writer,
        mode: Mode::Delta,
        sent_at,
        body: None,
        // A gap in the history is closed by the next full only.
        cursor: if touched.gapless { cursor } else { Cursor { history_until: None, ..cursor } },
        nodes_verified: touched.gapless && all_answered,
    };
    planning.into_apply(run).await
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
            touched.add(&ActionTarget { id: log.environment, env_name: log.env_name });
        }
    }
    let ask = || run.parts.ports.platform.current_actions(&run.access);
    match run.patiently(ask).await {
        Ok(targets) => targets.iter().for_each(|target| touched.add(target)),
        Err(failure) if is_refusal(&failure) => return refused(touched),
        Err(failure) => return Err(failure.into()),
    }
    Ok(touched)
}

fn is_refusal(failure: &Failure) -> bool {
    failure.class == FailureClass::Capability
}
