//! The pipeline of one team: trigger it, look at it, pause it.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use vz_sync_actors::domain::{Class, DataType, JobId, Scope, ScopeKey};
use vz_sync_actors::ports::store::{Idempotency, Requested, Resting, SyncRequest};
use vz_sync_actors::ports::teams::Pause;

use crate::http::extract::{AuthorizedTeam, Manage, OptionalJson, PathIds, Query, Read};
use crate::http::freshness::judge;
use crate::http::model::{
    JobItem, JobList, ScopeItem, ScopeWord, SyncStatus, TriggerAnswer, TriggerBody, TriggeredJob,
};
use crate::http::problem::{Kind, Problem, ProblemDocument};
use crate::http::state::ApiState;

/// Environments that one trigger may name.
const MAX_ENVIRONMENTS: usize = 20;

/// Refresh now
///
/// Makes one scope, or all, due at once. Coalesced: the answer names the job that will satisfy the
/// request, and a run in flight is followed by at most one more.
#[utoipa::path(
    post, path = "/teams/{team_id}/vz-sync", tag = "sync", security(("bearer" = ["team.manage"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated call answers as the first did; kept 24 h", max_length = 128),
    ),
    request_body(content = Option<TriggerBody>),
    responses(
        (status = 202, body = TriggerAnswer),
        (status = 409, description = "The team takes no part: paused, out of rollout, no key or a refused one", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "The body is not valid, or the Idempotency-Key was used with another", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "Too many triggers of the team; see Retry-After", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn trigger(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Manage>,
    headers: HeaderMap,
    OptionalJson(body, _): OptionalJson<TriggerBody>,
) -> Result<(StatusCode, Answer<TriggerAnswer>), Problem> {
    check(&body)?;
    let idempotency = idempotency(&headers, &body)?;
    let request = SyncRequest {
        team: auth.team,
        scopes: body.scope.map_or_else(|| Scope::ALL.to_vec(), |scope| vec![scope]),
        class: Class::Manual,
        mode: body.mode,
        environments: body.environments,
        requested_by: auth.identity.subject.clone(),
        trace_parent: trace_parent(&headers),
        demand_interval: api.settings.demand_interval,
        idempotency,
        per_minute: Some(api.settings.triggers_per_minute),
    };
    let jobs = match api.engine.trigger(&request).await? {
        Requested::Accepted(jobs) => jobs,
        Requested::IdempotencyConflict => {
            return Err(Problem::new(Kind::IDEMPOTENCY, "Use a new key for a new request."));
        }
        Requested::TooMany { retry_in } => {
            let seconds = retry_in.as_secs() + u64::from(retry_in.subsec_nanos() > 0);
            return Err(Problem::new(Kind::TOO_MANY, "The team was triggered too often.")
                .retry_after(seconds));
        }
        Requested::Resting(why) => return Err(resting(&why)),
        Requested::UnknownTeam => return Err(Problem::not_found("The team")),
    };
    for job in &jobs {
        tracing::info!(
            event = "vz_sync_enqueue",
            team_id = auth.team.0,
            scope = %job.scope,
            job_id = job.job_id.0,
            reason = "manual",
            subject = auth.identity.subject,
            "a refresh was asked for"
        );
    }
    let jobs = jobs
        .into_iter()
        .map(|job| TriggeredJob {
            scope: job.scope,
            job_id: job.job_id.0,
            position: job.position,
            coalesced: job.coalesced,
        })
        .collect();
    Ok((StatusCode::ACCEPTED, Answer(TriggerAnswer { jobs })))
}

fn check(body: &TriggerBody) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(Kind::INVALID_BODY, detail));
    if body.environments.len() > MAX_ENVIRONMENTS {
        return refuse("At most 20 environments can be named.");
    }
    let sound =
        |name: &String| (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
    if !body.environments.iter().all(sound) {
        return refuse("An environment is named by 1 to 128 bytes without control characters.");
    }
    if !body.environments.is_empty() && body.scope.is_some_and(|s| s != Scope::Environments) {
        return refuse("Environments can be named for the scope environments only.");
    }
    Ok(())
}

/// The key with a hash of what was meant, so that another spelling of the
/// same request is the same request.
fn idempotency(headers: &HeaderMap, body: &TriggerBody) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let Some(key) = key else {
        let detail = "Idempotency-Key must be 1 to 128 visible ASCII characters.";
        return Err(Problem::new(Kind::INVALID_HEADER, detail));
    };
    let meant = serde_json::json!([body.scope, body.mode, body.environments]).to_string();
    Ok(Some(Idempotency { key: key.to_owned(), body_hash: Sha256::digest(meant).into() }))
}

/// A W3C trace context, if it has the form of one.
fn trace_parent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let fits = text.len() == 55 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    fits.then(|| text.to_owned())
}

/// Why a team cannot be asked for, as a problem.
fn resting(why: &Resting) -> Problem {
    let retry = 30;
    match why {
        Resting::OutOfRollout => Problem::new(
            Kind::OUT_OF_ROLLOUT,
            "What is mirrored is still served; it is not refreshed.",
        ),
        Resting::Paused(_) => Problem::new(Kind::PAUSED, "Resume the team first."),
        Resting::NoCredentials => Problem::new(Kind::NO_CREDENTIALS, "The Owner must store a key."),
        Resting::Auth(_) => Problem::new(Kind::KEY_REFUSED, "The Owner must store a new key."),
        Resting::CircuitOpen => {
            Problem::new(Kind::PLATFORM_UNAVAILABLE, "It is probed again soon.").retry_after(retry)
        }
        Resting::RecentlyAsked => {
            Problem::new(Kind::TOO_MANY, "It was asked for a moment ago.").retry_after(retry)
        }
    }
}

/// How the pipeline stands
///
/// Every scope: status, freshness, last and next run, progress of a run in flight.
#[utoipa::path(
    get, path = "/teams/{team_id}/vz-sync", tag = "sync", security(("bearer" = ["team.read"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1)),
    responses((status = 200, body = SyncStatus)),
)]
pub async fn status(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
) -> Result<Answer<SyncStatus>, Problem> {
    let reads = &api.ports.reads;
    let (scopes, facts) =
        tokio::try_join!(reads.scopes(auth.team), reads.freshness(auth.team, &DataType::ALL))?;
    let scopes = scopes.ok_or_else(|| Problem::not_found("The team"))?;
    let now = scopes.first().ok_or_else(|| Problem::not_found("The team"))?.now;
    let scopes = scopes
        .into_iter()
        .map(|scope| {
            let freshness: BTreeMap<_, _> = facts
                .iter()
                .filter(|table| table.data_type.scope() == scope.key.scope)
                .map(|table| (table.data_type.as_str(), judge(table)))
                .collect();
            let progress = api.engine.progress(ScopeKey::new(auth.team, scope.key.scope));
            ScopeItem::new(scope, freshness, progress)
        })
        .collect();
    Ok(Answer(SyncStatus { team_id: auth.team.0, now, scopes }))
}

/// What the history of jobs is asked by.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only this scope.
    #[param(value_type = Option<ScopeWord>)]
    scope: Option<Scope>,
    /// `next_cursor` of the page before.
    cursor: Option<i64>,
    /// Jobs of a page, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// The history of jobs
///
/// Newest first.
#[utoipa::path(
    get, path = "/teams/{team_id}/vz-sync/jobs", tag = "sync", security(("bearer" = ["team.read"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1), JobsQuery),
    responses((status = 200, body = JobList)),
)]
pub async fn jobs(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    Query(query): Query<JobsQuery>,
) -> Result<Answer<JobList>, Problem> {
    let limit = page_size(query.limit, 200)?;
    let before = query.cursor.map(JobId);
    let mut rows = api.ports.reads.jobs(auth.team, query.scope, before, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|job| job.id.to_string());
    Ok(Answer(JobList { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
}

/// A page's size within its bounds.
pub fn page_size(asked: Option<u32>, most: u32) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(50);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::new(Kind::INVALID_QUERY, format!("limit must be 1 to {most}.")))
    }
}

/// One job
#[utoipa::path(
    get, path = "/teams/{team_id}/vz-sync/jobs/{id}", tag = "sync",
    security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = i64, Path, description = "The job", minimum = 1),
    ),
    responses((status = 200, body = JobItem)),
)]
pub async fn job(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    ids: PathIds,
) -> Result<Answer<JobItem>, Problem> {
    let id = JobId(ids.number("id")?);
    let job = api.ports.reads.job(auth.team, id).await?;
    Ok(Answer(job.ok_or_else(|| Problem::not_found("The job"))?.into()))
}

/// Why a team is paused.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PauseBody {
    /// For whoever wonders later.
    #[schema(max_length = 200)]
    reason: Option<String>,
}

/// Pause
///
/// A run in flight goes on to its end; none is started. Reads are served.
#[utoipa::path(
    post, path = "/teams/{team_id}/vz-sync/pause", tag = "sync",
    security(("bearer" = ["team.manage"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1)),
    request_body(content = Option<PauseBody>),
    responses((status = 204, description = "Paused")),
)]
pub async fn pause(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Manage>,
    OptionalJson(body, _): OptionalJson<PauseBody>,
) -> Result<StatusCode, Problem> {
    let reason = body.reason.unwrap_or_else(|| format!("paused by {}", auth.identity.subject));
    if reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        let detail = "reason must be at most 200 characters without control characters.";
        return Err(Problem::new(Kind::INVALID_BODY, detail));
    }
    let by = auth.identity.subject.clone();
    set_paused(&api, &auth, Some(Pause { by, reason })).await
}

/// Resume
///
/// Forgets the count of failures; every scope is due at once.
#[utoipa::path(
    post, path = "/teams/{team_id}/vz-sync/resume", tag = "sync",
    security(("bearer" = ["team.manage"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1)),
    responses((status = 204, description = "Resumed")),
)]
pub async fn resume(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Manage>,
) -> Result<StatusCode, Problem> {
    set_paused(&api, &auth, None).await
}

async fn set_paused(
    api: &ApiState,
    auth: &AuthorizedTeam<Manage>,
    paused: Option<Pause>,
) -> Result<StatusCode, Problem> {
    let resumed = paused.is_none();
    if !api.ports.teams.set_paused(auth.team, paused).await? {
        return Err(Problem::not_found("The team"));
    }
    tracing::info!(
        event = "vz_sync_pause",
        team_id = auth.team.0,
        subject = auth.identity.subject,
        state = if resumed { "resumed" } else { "paused" },
        "a team was paused or resumed"
    );
    if resumed {
        api.engine.nudge();
    }
    Ok(StatusCode::NO_CONTENT)
}
