//! A delta run of `environments`: the outlines, and the details of what may
//! have changed.
//!
//! What may have changed is what the action history names since the cursor
//! (less an overlap), what is under way now, what looks different in outline,
//! and what was unsettled or in doubt before. The outlines alone vouch for
//! environments. For nodes the history must be gapless too, and every
//! candidate must have answered. A delta that is not worth its requests, or
//! could not send them in its time, reads the full listing instead.

use std::collections::HashSet;

use async_trait::async_trait;

use super::changes::Writer;
use super::environments::{self, Planning};
use super::job_logs::{self, Pages};
use super::refusals::is_refusal;
use super::run::{Run, WorkError};
use super::schedule;
use crate::domain::event::Phase;
use crate::domain::item::{Columns, Item};
use crate::domain::plan::{OutlineVerdict, Planner};
use crate::domain::{Capability, Mode, Refused, budget, status};
use crate::ports::platform::{ActionTarget, Lookup, Outline};
use crate::ports::store::{Apply, Cursor};
use tokio::time::Instant;

/// What the action history says was touched.
#[derive(Default)]
struct Touched {
    ids: HashSet<String>,
    names: HashSet<String>,
    /// Whether it vouches for everything since the cursor.
    gapless: bool,
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
    let mut refused = run.lease.refused.clone();
    if run.does_without(&refused, Capability::GetEnvs) {
        return environments::full(run, refused).await;
    }
    let touched = touched(run, &mut refused).await?;
    let outlines = run.patiently(|| ports.platform.outlines(&run.access)).await;
    run.learn(&mut refused, Capability::GetEnvs, &outlines);
    let outlines = match outlines {
        Err(failure) if is_refusal(&failure) => return environments::full(run, refused).await,
        outlines => outlines?,
    };
    let mut planner = Planner::new(&baseline);
    let mut writer = Writer::new(run, !run.first_load());
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
    let too_many = candidates.len() > worth_asking(run, outlines.outlines.len());
    let unreadable = !candidates.is_empty() && run.does_without(&refused, Capability::GetEnvInfo);
    if too_many || unreadable {
        return environments::full(run, refused).await;
    }
    run.teller.enter(Phase::Fetch, Some(candidates.len() as u64)).await;
    let mut all_answered = true;
    for (done, outline) in candidates.iter().enumerate() {
        let ask = || ports.platform.environment(&run.access, &outline.env_name);
        let answer = run.patiently(ask).await;
        run.learn(&mut refused, Capability::GetEnvInfo, &answer);
        let looked = match answer {
            // Nothing was written yet that the full listing could contradict.
            Err(failure) if done == 0 && is_refusal(&failure) => {
                return environments::full(run, refused).await;
            }
            looked => looked?,
        };
        match looked {
            Lookup::Found { element, .. } => {
                all_answered &= schedule::own_id(&element) == Some(&outline.id);
                let planned = planner.accept(element);
                writer.add(planned).await?;
            }
            // Gone since the outlines were read: the next run judges it.
            Lookup::Gone => all_answered = false,
        }
        run.teller.done(done as u64 + 1).await;
    }
    let absence = planner.finish(outlines.completeness);
    let platform_time = outlines.platform_time.map(|at| at - (outlines.sent_at - sent_at));
    let cursor = schedule::cursor(run, platform_time, sent_at);
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
        refused,
    };
    planning.into_apply(run).await
}

/// Most details that this delta asks for, of so many outlines.
fn worth_asking(run: &Run, listed: usize) -> usize {
    let settings = &run.parts.settings;
    let replicas = run.parts.measured.fleet().map_or(1, |fleet| fleet.replicas);
    let requests = budget::requests_of_a_run(settings.team_rate, replicas, settings.run_timeout);
    budget::details_worth_asking(listed, settings.delta_max_percent, requests)
}

/// Reads the action history since the cursor, and what is under way.
async fn touched(run: &Run, refused: &mut Refused) -> Result<Touched, WorkError> {
    let mut touched = Touched::default();
    let cursor = run.lease.cursor.unwrap_or_default();
    let Some(until) = cursor.history_until else { return Ok(touched) };
    let tracking = [Capability::SearchActions, Capability::GetCurrentActions];
    if tracking.iter().any(|method| run.does_without(refused, *method)) {
        return Ok(touched);
    }
    let overlap = run.parts.settings.history_overlap;
    let history = job_logs::history(run, until - overlap, &mut touched, refused).await?;
    let Some(history) = history else { return Ok(touched) };
    let ask = || run.parts.ports.platform.current_actions(&run.access);
    let current = run.patiently(ask).await;
    run.learn(refused, Capability::GetCurrentActions, &current);
    match current {
        Ok(targets) => targets.iter().for_each(|target| touched.add(target)),
        Err(failure) if is_refusal(&failure) => return Ok(touched),
        Err(failure) => return Err(failure.into()),
    }
    // A clock that was set back by more than the overlap has stamped actions
    // into a part of the history that was read before.
    let ahead = schedule::ahead(run, history.platform_time, history.sent_at);
    let then = time::Duration::milliseconds(cursor.ahead_ms);
    let steady = ahead.is_some_and(|ahead| ahead + overlap >= then);
    // An action that cannot be read may name anything.
    touched.gapless = steady && history.completeness.is_complete() && history.malformed.is_empty();
    Ok(touched)
}

#[async_trait]
impl Pages for Touched {
    async fn take(&mut self, items: Vec<Item>) -> Result<(), WorkError> {
        for item in items {
            if let Columns::JobLog(log) = item.columns {
                self.add(&ActionTarget { id: log.environment, env_name: log.env_name });
            }
        }
        Ok(())
    }
}
