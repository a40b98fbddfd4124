//! The actors, from the roster: no actor is asked, so a stuck one shows too.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use vz_sync_actors::domain::ScopeKey;
use vz_sync_actors::kit::{ActorId, ActorView, ControlError, RosterTree};

use super::{AdminState, OPERATOR};
use crate::http::extract::PathIds;
use crate::http::problem::{Kind, Problem};

/// All actors, nested.
pub(super) async fn tree(State(admin): State<AdminState>) -> Json<RosterTree> {
    Json(admin.api.engine.roster().tree())
}

/// One actor.
pub(super) async fn one(
    State(admin): State<AdminState>,
    ids: PathIds,
) -> Result<Json<ActorView>, Problem> {
    let id = ActorId::from(ids.text("id")?);
    let view = admin.api.engine.roster().get(&id);
    view.map(Json).ok_or_else(|| Problem::not_found("The actor"))
}

/// `.../restart` and `.../cancel`: the last part of the path is the verb.
pub(super) async fn act(
    State(admin): State<AdminState>,
    ids: PathIds,
) -> Result<StatusCode, Problem> {
    let path = ids.text("id")?;
    match path.rsplit_once('/') {
        Some((id, "restart")) => restart(&admin, &ActorId::from(id)),
        Some((id, "cancel")) => cancel(&admin, &ActorId::from(id)).await,
        _ => Err(Problem::new(Kind::NOT_FOUND, "An actor takes restart and cancel.")),
    }
}

fn restart(admin: &AdminState, id: &ActorId) -> Result<StatusCode, Problem> {
    match admin.api.engine.roster().restart(id) {
        Ok(()) => {
            tracing::info!(event = "actor_restart_asked", actor = %id, "an operator restarts an actor");
            Ok(StatusCode::ACCEPTED)
        }
        Err(ControlError::Unknown(_)) => Err(Problem::not_found("The actor")),
        Err(error @ (ControlError::NoOwner(_) | ControlError::NotRunning(_))) => {
            Err(Problem::new(Kind::CONFLICT, error.to_string()))
        }
    }
}

async fn cancel(admin: &AdminState, id: &ActorId) -> Result<StatusCode, Problem> {
    let engine = &admin.api.engine;
    if engine.roster().get(id).is_none() {
        return Err(Problem::not_found("The actor"));
    }
    let name = id.as_str().rsplit('/').next().unwrap_or_default();
    let key: ScopeKey = name
        .parse()
        .map_err(|_| Problem::new(Kind::CONFLICT, "Only a team sync has a run to cancel."))?;
    if engine.cancel_run(key, OPERATOR).await? {
        tracing::info!(event = "run_cancel_asked", actor = %id, "an operator cancels a run");
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(Problem::new(Kind::CONFLICT, "The actor has no run in hand."))
    }
}
