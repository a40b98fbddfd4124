//! Why a team is in the state it is in, from facts only.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use vz_sync_actors::domain::{DataType, Scope, ScopeKey, TeamId};
use vz_sync_actors::ports::platforms::PlatformGate;
use vz_sync_actors::ports::reads::{FreshnessFacts, ScopeStatus};

use super::teams::resting_code;
use crate::http::extract::{AuthorizedTeam, Read};
use crate::http::freshness::{FreshnessBlock, judge, staler};
use crate::http::model::{JobItem, MissingCapability, NextRun, ProgressItem, ScopeWord};
use crate::http::problem::Problem;
use crate::http::state::ApiState;

/// Jobs shown as last decisions.
const LAST_JOBS: u32 = 5;

/// Why every scope is in the state it is in.
#[derive(Serialize, ToSchema)]
pub struct Explanation {
    /// The team.
    team_id: i64,
    /// Database time of this answer.
    #[serde(with = "time::serde::rfc3339")]
    now: OffsetDateTime,
    /// By scope.
    scopes: Vec<ScopeExplanation>,
}

/// Why one scope is in the state it is in.
#[derive(Serialize, ToSchema)]
pub struct ScopeExplanation {
    /// Which.
    #[schema(value_type = ScopeWord)]
    scope: Scope,
    /// As in the status.
    status: String,
    /// The staler of its tables.
    freshness: Option<FreshnessBlock>,
    /// Why the team takes no part, as a code.
    resting: Option<&'static str>,
    /// Why the scope does not go on, as a code.
    pending_reason: Option<String>,
    /// The same in words.
    pending_message: Option<String>,
    /// When it is due.
    due: NextRun,
    /// When it was handed to the queue.
    #[serde(with = "time::serde::rfc3339::option")]
    dispatched_at: Option<OffsetDateTime>,
    /// Entries before it in the due queue; null when it is not in it.
    queue_position: Option<u64>,
    /// How long jobs wait between queue and start at present.
    queue_wait_ms: u64,
    /// The lease of the run in hand.
    lease: Option<LeaseItem>,
    /// The hint lock.
    lock: Option<LockItem>,
    /// How far the run in hand is.
    progress: Option<ProgressItem>,
    /// The platform's gate.
    platform: Option<GateItem>,
    /// Failures in a row.
    failures: u32,
    /// Since when it is near to being paused over failing for days; null while it is not.
    #[serde(with = "time::serde::rfc3339::option")]
    pause_warned_at: Option<OffsetDateTime>,
    /// The last error as class and code.
    last_error: Option<String>,
    /// Methods of the platform that the key is refused; runs do without them.
    capabilities_missing: Vec<MissingCapability>,
    /// When it is expected to run; null when nothing is.
    #[serde(with = "time::serde::rfc3339::option")]
    expected_at: Option<OffsetDateTime>,
    /// The last decisions.
    last_jobs: Vec<JobItem>,
}

/// A lease.
#[derive(Serialize, ToSchema)]
pub struct LeaseItem {
    /// The replica's boot id.
    replica: String,
    /// The run.
    run: String,
    /// Its fence.
    fence: i64,
    /// It ends then, unless renewed.
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
}

/// A lock.
#[derive(Serialize, ToSchema)]
pub struct LockItem {
    /// The run that took it.
    owner: String,
    /// Milliseconds until it expires.
    remaining_ms: u64,
}

/// What stands between the team and its platform.
#[derive(Serialize, ToSchema)]
pub struct GateItem {
    /// `closed`, `open` or `half_open`.
    circuit: String,
    /// When the open circuit may be probed.
    #[serde(with = "time::serde::rfc3339::option")]
    open_until: Option<OffsetDateTime>,
    /// Milliseconds until the platform may be asked again.
    throttled_for_ms: u64,
    /// What opened the circuit, while it is not closed.
    last_error: Option<String>,
}

/// Explain
///
/// Due time, queue position, lease and lock, circuit and throttling, last decisions, expected time.
#[utoipa::path(
    get, path = "/teams/{team_id}/vz-sync/explain", tag = "sync",
    security(("bearer" = ["team.read"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1)),
    responses((status = 200, body = Explanation)),
)]
pub async fn explain(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
) -> Result<Answer<Explanation>, Problem> {
    let reads = &api.ports.reads;
    let (scopes, facts) =
        tokio::try_join!(reads.scopes(auth.team), reads.freshness(auth.team, &DataType::ALL))?;
    let scopes = scopes.filter(|scopes| !scopes.is_empty());
    let scopes = scopes.ok_or_else(|| Problem::not_found("The team"))?;
    let gate = gate(&api, auth.team).await?;
    let now = scopes[0].now;
    let mut explained = Vec::with_capacity(scopes.len());
    for scope in scopes {
        explained.push(one(&api, auth.team, scope, &facts, gate.as_ref()).await?);
    }
    Ok(Answer(Explanation { team_id: auth.team.0, now, scopes: explained }))
}

async fn gate(api: &ApiState, team: TeamId) -> Result<Option<PlatformGate>, Problem> {
    let platform = api.ports.teams.get(team).await?.map(|view| view.platform);
    Ok(api.engine.gates().iter().find(|gate| Some(gate.platform) == platform).cloned())
}

async fn one(
    api: &ApiState,
    team: TeamId,
    status: ScopeStatus,
    facts: &[FreshnessFacts],
    gate: Option<&PlatformGate>,
) -> Result<ScopeExplanation, Problem> {
    let key = ScopeKey::new(team, status.key.scope);
    // Queue and lock are hints: without them the rest is still true.
    let queue_position = api.ports.due_queue.position(key).await.unwrap_or_default();
    let lock = api.ports.lock.holder(key).await.unwrap_or_default();
    let last_jobs = api.ports.reads.jobs(team, Some(key.scope), None, LAST_JOBS).await?;
    let own = facts.iter().filter(|table| table.data_type.scope() == key.scope);
    let running = status.running.as_ref().map(|job| job.id);
    let progress = api.engine.progress(key).filter(|p| Some(p.job_id) == running);
    Ok(ScopeExplanation {
        scope: key.scope,
        freshness: own.map(judge).reduce(staler),
        resting: status.resting.as_ref().map(resting_code),
        expected_at: expected_at(&status),
        due: NextRun {
            full_at: status.due.full,
            delta_at: status.due.delta,
            not_before: status.not_before,
            requested_at: status.requested_at,
        },
        dispatched_at: status.dispatched_at,
        queue_position,
        queue_wait_ms: api.engine.queue_wait().as_millis() as u64,
        lease: status.lease.map(|lease| LeaseItem {
            replica: lease.owner.to_string(),
            run: lease.run.to_string(),
            fence: status.fence.0,
            until: lease.until,
        }),
        lock: lock.map(|holder| LockItem {
            owner: holder.owner.to_string(),
            remaining_ms: holder.remaining.as_millis() as u64,
        }),
        progress: progress.map(Into::into),
        platform: gate.map(|gate| GateItem {
            circuit: format!("{:?}", gate.circuit).to_lowercase().replace("halfopen", "half_open"),
            open_until: gate.open_until,
            throttled_for_ms: gate.throttled_for.as_millis() as u64,
            last_error: gate.last_error.clone(),
        }),
        failures: status.failures,
        pause_warned_at: status.pause_warned_at,
        last_error: status.last_error,
        capabilities_missing: MissingCapability::of(&status.refused),
        status: status.status,
        pending_reason: status.pending_reason,
        pending_message: status.pending_message,
        last_jobs: last_jobs.into_iter().map(Into::into).collect(),
    })
}

/// The earliest moment at which nothing that is known stands in the way.
fn expected_at(status: &ScopeStatus) -> Option<OffsetDateTime> {
    if status.resting.is_some() {
        return None;
    }
    if status.running.is_some() {
        return Some(status.now);
    }
    let wanted = match status.requested_at.or(status.queued.as_ref().map(|job| job.created_at)) {
        Some(_) => status.now,
        None => status.due.earliest().max(status.now),
    };
    let gates = [status.not_before, status.circuit_open_until];
    Some(gates.into_iter().flatten().fold(wanted, OffsetDateTime::max))
}
