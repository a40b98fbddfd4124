//! Removal sets that a guard stopped: look at the plan, release or reject it.

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use vz_sync_actors::domain::HoldId;

use crate::http::extract::{AuthorizedTeam, Manage, PathIds, Query};
use crate::http::model::{HoldItem, HoldList};
use crate::http::problem::{Kind, Problem, ProblemDocument};
use crate::http::state::ApiState;

/// Which removal sets to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HoldsQuery {
    /// Decided ones too.
    #[serde(default)]
    all: bool,
}

/// Held removals
///
/// What would disappear from the mirror, if it were released.
#[utoipa::path(
    get, path = "/teams/{team_id}/vz-sync/removals", tag = "removals",
    security(("bearer" = ["team.manage"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1), HoldsQuery),
    responses((status = 200, body = HoldList)),
)]
pub async fn list(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Manage>,
    Query(query): Query<HoldsQuery>,
) -> Result<Answer<HoldList>, Problem> {
    let holds = api.ports.reads.holds(auth.team, query.all).await?;
    Ok(Answer(HoldList { items: holds.into_iter().map(Into::into).collect() }))
}

/// Release a removal set
///
/// Its rows go with the next run of the scope, which is due at once.
#[utoipa::path(
    post, path = "/teams/{team_id}/vz-sync/removals/{id}/release", tag = "removals",
    security(("bearer" = ["team.manage"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = i64, Path, description = "The hold", minimum = 1),
    ),
    responses(
        (status = 200, body = HoldItem),
        (status = 409, description = "It was decided before", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn release(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Manage>,
    ids: PathIds,
) -> Result<Answer<HoldItem>, Problem> {
    decide(&api, &auth, &ids, true).await
}

/// Reject a removal set
///
/// Its rows are served until they are seen again, and not held anew for a week.
#[utoipa::path(
    post, path = "/teams/{team_id}/vz-sync/removals/{id}/reject", tag = "removals",
    security(("bearer" = ["team.manage"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = i64, Path, description = "The hold", minimum = 1),
    ),
    responses(
        (status = 200, body = HoldItem),
        (status = 409, description = "It was decided before", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn reject(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Manage>,
    ids: PathIds,
) -> Result<Answer<HoldItem>, Problem> {
    decide(&api, &auth, &ids, false).await
}

async fn decide(
    api: &ApiState,
    auth: &AuthorizedTeam<Manage>,
    ids: &PathIds,
    release: bool,
) -> Result<Answer<HoldItem>, Problem> {
    let id = HoldId(ids.number("id")?);
    let by = &auth.identity.subject;
    let decided = api.ports.store.decide_hold(auth.team, id, release, by).await?;
    let holds = api.ports.reads.holds(auth.team, true).await?;
    let hold = holds.into_iter().find(|hold| hold.id == id);
    let hold = hold.ok_or_else(|| Problem::not_found("The removal set"))?;
    if !decided {
        let detail = "The removal set was decided before.";
        return Err(Problem::new(Kind::CONFLICT, detail).with("state", hold.state));
    }
    tracing::info!(
        event = "vz_sync_removals_decided",
        team_id = auth.team.0,
        subject = by,
        outcome = if release { "released" } else { "rejected" },
        count = hold.items.len(),
        "a removal set was decided"
    );
    api.engine.nudge();
    Ok(Answer(hold.into()))
}
