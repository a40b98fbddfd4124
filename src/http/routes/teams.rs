//! `GET /teams`: the token's teams at a glance.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::domain::status::status;
use vz_sync_actors::ports::reads::TeamSummary;
use vz_sync_actors::ports::store::Resting;

use crate::http::auth::{Identity, Role};
use crate::http::extract::Caller;
use crate::http::freshness::judge;
use crate::http::model::{TeamItem, TeamList};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::state::ApiState;

/// The token's teams
///
/// Counts by status and freshness of every table, for the teams of the token that exist here.
#[utoipa::path(
    get, path = "/teams", tag = "teams", security(("bearer" = ["token"])),
    responses(
        (status = 200, body = TeamList),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(api): State<ApiState>,
    Caller(identity): Caller,
) -> Result<Json<TeamList>, Problem> {
    let mut ids: Vec<TeamId> = identity.teams.keys().map(|id| TeamId(*id)).collect();
    ids.sort_unstable();
    let mut found = api.ports.reads.teams(&ids).await?;
    found.sort_by_key(|team| team.id);
    let teams = found.into_iter().filter_map(|team| item(team, &identity)).collect();
    Ok(Json(TeamList { teams }))
}

fn item(team: TeamSummary, identity: &Identity) -> Option<TeamItem> {
    // A row that was not asked for would be another tenant's.
    let role: Role = identity.role(team.id.0)?;
    let mut environments = BTreeMap::new();
    for (code, count) in &team.environments_by_status {
        *environments.entry(status(*code).name).or_insert(0) += count;
    }
    Some(TeamItem {
        id: team.id.0,
        name: team.name,
        role: role.to_string(),
        environments_total: environments.values().sum(),
        environments,
        nodes_total: team.nodes,
        freshness: team.freshness.iter().map(|f| (f.data_type.as_str(), judge(f))).collect(),
        resting: team.resting.as_ref().map(resting_code),
    })
}

/// The code under which clients know why a team rests.
pub fn resting_code(resting: &Resting) -> &'static str {
    match resting {
        Resting::OutOfRollout => "out_of_rollout",
        Resting::Paused(_) => "paused",
        Resting::NoCredentials => "no_credentials",
        Resting::Auth(_) => "auth",
        Resting::RecentlyAsked => "recently_asked",
        Resting::CircuitOpen => "circuit_open",
    }
}
