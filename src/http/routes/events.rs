//! `GET .../events`: the team's events as they happen.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;
use vz_sync_actors::domain::{EventNo, TeamId};

use crate::http::auth::unix_now;
use crate::http::extract::{AuthorizedTeam, Query, Read};
use crate::http::problem::{Kind, Problem, ProblemDocument};
use crate::http::slots::Full;
use crate::http::sse::{Opening, Start, stream as frames};
use crate::http::state::ApiState;

/// Where to resume.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// As the header Last-Event-ID, for clients that cannot set it.
    #[param(minimum = 0)]
    last_event_id: Option<i64>,
}

/// Events
///
/// Server-sent events: `sync.completed`, `sync.failed` and `removals.held` carry the team's event
/// number as `id`; `sync.started` and `sync.progress` carry none and may be missed. Resume with
/// Last-Event-ID: nothing is lost or repeated while the outbox reaches back (7 days). `resync` says
/// that it does not, or that the client read too slowly: read the state anew. A comment breaks every
/// 15 s of silence. The stream ends when the token does, or when the team is removed.
#[utoipa::path(
    get, path = "/teams/{team_id}/events", tag = "events", security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("Last-Event-ID" = Option<i64>, Header, description = "The last number seen"),
        EventsQuery,
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 429, description = "The subject has too many streams", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The process has too many streams", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn stream(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = last_seen(&headers, &query)?;
    let slot = api.slots.take(&auth.identity.subject).map_err(|full| match full {
        Full::Subject => Problem::new(Kind::TOO_MANY, "Close another event stream first."),
        Full::Process => Problem::new(Kind::UNAVAILABLE, "No more event streams here."),
    });
    let slot = slot.map_err(|problem| problem.retry_after(5))?;
    if api.ports.reads.teams(&[auth.team]).await?.is_empty() {
        return Err(Problem::not_found("The team"));
    }
    // Subscribed before the outbox is asked: what comes in between is live.
    let subscription = api.engine.subscribe(auth.team).await?;
    let start = match last {
        None => Start::Now,
        Some(last) => start(&api, auth.team, last, subscription.from).await?,
    };
    let left = auth.identity.expires_at.saturating_sub(unix_now());
    let opening = Opening {
        team: auth.team,
        engine: api.engine.clone(),
        subscription,
        start,
        heartbeat: api.settings.heartbeat,
        // A token without a sensible end must not overflow the clock.
        ends_at: Instant::now() + Duration::from_secs(left.min(30 * 86_400)),
        stopping: api.stopping.clone(),
        slot,
    };
    let mut response = Response::new(Body::from_stream(frames(opening)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Proxies of the nginx family would hold events back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_seen(headers: &HeaderMap, query: &EventsQuery) -> Result<Option<EventNo>, Problem> {
    let wrong = |kind| Problem::new(kind, "The last event id is a whole number, 0 or more.");
    // The header is the fresher one: a reconnecting browser keeps the query.
    if let Some(value) = headers.get("last-event-id") {
        let text = value.to_str().map_err(|_| wrong(Kind::INVALID_HEADER))?.trim();
        if !text.is_empty() {
            let no = text.parse::<i64>().ok().filter(|no| *no >= 0);
            return no.map(|no| Some(EventNo(no))).ok_or_else(|| wrong(Kind::INVALID_HEADER));
        }
    }
    match query.last_event_id {
        Some(no) if no < 0 => Err(wrong(Kind::INVALID_QUERY)),
        no => Ok(no.map(EventNo)),
    }
}

/// Whether the outbox still holds what follows the client's number.
async fn start(
    api: &ApiState,
    team: TeamId,
    last: EventNo,
    told: EventNo,
) -> Result<Start, Problem> {
    let Some(bounds) = api.engine.outbox_bounds(team).await? else {
        return Ok(if last == EventNo(0) { Start::After(last) } else { Start::TooOld });
    };
    // A number from the future belongs to another life of the database.
    let reachable = last.0.saturating_add(1) >= bounds.first.0 && last <= bounds.last.max(told);
    Ok(if reachable { Start::After(last) } else { Start::TooOld })
}
