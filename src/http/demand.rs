//! Reads that want to be fresher: a stale read asks for a run by itself, and
//! a reader who says `max_age` and `wait` joins the run in flight.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use vz_sync_actors::domain::freshness::Reason;
use vz_sync_actors::domain::{Class, DataType, EventBody, Mode, Scope, ScopeKey, TeamId};
use vz_sync_actors::ports::reads::FreshnessFacts;
use vz_sync_actors::ports::store::{Requested, Resting, SyncRequest};
use vz_sync_actors::subscription::Subscription;

use super::duration::Span;
use super::freshness::judge;
use super::problem::{Kind, Problem};
use super::state::ApiState;

/// Nobody waits longer than this, whatever they ask.
pub const MAX_WAIT: Duration = Duration::from_secs(20);

/// What a reader asks of an answer's age.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// The answer should be no older.
    pub max_age: Option<Span>,
    /// How long it may take for that.
    pub wait: Option<Span>,
}

impl Patience {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), Problem> {
        let refuse = |detail: &str| Err(Problem::new(Kind::INVALID_QUERY, detail));
        match (self.max_age, self.wait) {
            (None, Some(_)) => refuse("wait needs max_age."),
            (_, Some(Span(wait))) if wait > MAX_WAIT => refuse("wait must be at most 20s."),
            _ => Ok(()),
        }
    }
}

/// What the freshness of these tables is judged by, after doing what the
/// reader's patience allows to make them younger.
pub async fn facts(
    api: &ApiState,
    team: TeamId,
    tables: &'static [DataType],
    patience: Patience,
) -> Result<Vec<FreshnessFacts>, Problem> {
    let facts = read(api, team, tables).await?;
    let Some(Span(max_age)) = patience.max_age else {
        demand_if_stale(api, &facts);
        return Ok(facts);
    };
    if !too_old(&facts, max_age) {
        return Ok(facts);
    }
    let scope = tables[0].scope();
    let key = ScopeKey::new(team, scope);
    let wait = patience.wait.map_or(Duration::ZERO, |wait| wait.0);
    if wait.is_zero() {
        if api.may_demand(key) {
            ask(api, key, mode(api, &facts).await).await;
        }
        return Ok(facts);
    }
    let deadline = Instant::now() + wait;
    // Subscribed before asking, so the end of a quick run is not missed.
    let mut events = api.engine.subscribe(team).await?;
    if api.may_demand(key) && !ask(api, key, mode(api, &facts).await).await {
        return Ok(facts);
    }
    let mut facts = read(api, team, tables).await?;
    while too_old(&facts, max_age) {
        match timeout_at(deadline, run_ended(&mut events, scope)).await {
            Ok(true) => facts = read(api, team, tables).await?,
            Ok(false) | Err(_) => break,
        }
    }
    Ok(facts)
}

async fn read(
    api: &ApiState,
    team: TeamId,
    tables: &[DataType],
) -> Result<Vec<FreshnessFacts>, Problem> {
    let facts = api.ports.reads.freshness(team, tables).await?;
    if facts.is_empty() { Err(Problem::not_found("The team")) } else { Ok(facts) }
}

fn too_old(facts: &[FreshnessFacts], max_age: Duration) -> bool {
    facts.iter().any(|table| table.verified_at.is_none_or(|at| table.now - at > max_age))
}

/// Resolves when a run of the scope has ended; `false` when that will not be
/// heard of any more.
async fn run_ended(events: &mut Subscription, scope: Scope) -> bool {
    loop {
        match events.live.recv().await {
            Ok(told) => match &told.event.body {
                EventBody::Completed(end) if end.scope == scope => return true,
                EventBody::Failed(end) if end.scope == scope => return true,
                _ => {}
            },
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

/// A stale read asks for a delta behind the reader's back.
fn demand_if_stale(api: &ApiState, facts: &[FreshnessFacts]) {
    let stale =
        facts.iter().find(|table| judge(table).stale_reason.is_some_and(Reason::can_be_helped));
    let Some(stale) = stale else { return };
    let key = stale.scope.key;
    if api.may_demand(key) {
        let (api, facts) = (api.clone(), facts.to_vec());
        tokio::spawn(async move { ask(&api, key, mode(&api, &facts).await).await });
    }
}

/// A delta where a delta can help: it lists the outlines, since a reader wants
/// a younger answer. Nodes that stayed behind when a delta moved their
/// environments need a full; before the first listing the run chooses.
async fn mode(api: &ApiState, facts: &[FreshnessFacts]) -> Option<Mode> {
    if facts.iter().any(|table| table.verified_at.is_none()) {
        return None;
    }
    let nodes = facts.iter().find(|table| {
        table.data_type == DataType::Nodes
            && table.scope.last_mode == Some(Mode::Delta)
            && judge(table).is_stale()
    });
    let Some(nodes) = nodes else { return Some(Mode::Delta) };
    let environments = [DataType::Environments];
    let environments = api.ports.reads.freshness(nodes.scope.key.team, &environments).await;
    // Without an answer the dearer mode is the one that helps for sure.
    let together = environments.is_ok_and(|facts| {
        facts.first().is_some_and(|table| table.verified_at <= nodes.verified_at)
    });
    Some(if together { Mode::Delta } else { Mode::Full })
}

/// Passes a demand on. `false` when no run is to be expected.
async fn ask(api: &ApiState, key: ScopeKey, mode: Option<Mode>) -> bool {
    let request = SyncRequest {
        team: key.team,
        scopes: vec![key.scope],
        class: Class::Demand,
        mode,
        environments: Vec::new(),
        requested_by: "reader".to_owned(),
        trace_parent: None,
        demand_interval: api.settings.demand_interval,
        idempotency: None,
        per_minute: None,
    };
    match api.engine.trigger(&request).await {
        Ok(Requested::Accepted(jobs)) => {
            for job in jobs {
                tracing::info!(
                    event = "vz_sync_enqueue",
                    team_id = key.team.0,
                    scope = %job.scope,
                    job_id = job.job_id.0,
                    reason = "demand",
                    "a stale read asked for a run"
                );
            }
            true
        }
        // Then a run was asked for a moment ago, and may be on its way.
        Ok(Requested::Resting(Resting::RecentlyAsked)) => true,
        Ok(_) => false,
        Err(error) => {
            tracing::warn!(event = "vz_sync_enqueue_failed", team_id = key.team.0, error = %error, "a stale read could not ask for a run");
            false
        }
    }
}
