//! Queues, replicas, platforms, teams and the rollout.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::due_queue::QueueDepths;
use vz_sync_actors::ports::job_bus::BusDepths;
use vz_sync_actors::ports::platforms::PlatformGate;
use vz_sync_actors::ports::replicas::ReplicaView;
use vz_sync_actors::ports::teams::{NewTeam, Overrides, Rollout, TeamView};

use super::{AdminState, OPERATOR};
use crate::http::extract::{Json, PathIds};
use crate::http::problem::{Kind, Problem};

/// What waits where.
#[derive(Serialize)]
pub(super) struct Queues {
    due: QueueDepths,
    jobs: BusDepths,
    published_unleased: u64,
    queue_wait_ms: u64,
}

pub(super) async fn queues(State(admin): State<AdminState>) -> Result<Answer<Queues>, Problem> {
    let ports = &admin.api.ports;
    let (due, jobs, published_unleased) = tokio::try_join!(
        ports.due_queue.depths(),
        ports.job_bus.depths(),
        ports.store.published_unleased()
    )?;
    let queue_wait_ms = admin.api.engine.queue_wait().as_millis() as u64;
    Ok(Answer(Queues { due, jobs, published_unleased, queue_wait_ms }))
}

pub(super) async fn replicas(
    State(admin): State<AdminState>,
) -> Result<Answer<Vec<ReplicaView>>, Problem> {
    let api = &admin.api;
    Ok(Answer(api.ports.replicas.list(api.settings.dead_after).await?))
}

pub(super) async fn platforms(State(admin): State<AdminState>) -> Answer<Vec<PlatformGate>> {
    Answer(admin.api.engine.gates().to_vec())
}

pub(super) async fn rollout(State(admin): State<AdminState>) -> Result<Answer<Rollout>, Problem> {
    Ok(Answer(admin.api.ports.teams.rollout().await?))
}

pub(super) async fn set_rollout(
    State(admin): State<AdminState>,
    Json(rollout): Json<Rollout>,
) -> Result<Answer<Rollout>, Problem> {
    if rollout.percent > 100 {
        return Err(Problem::new(Kind::INVALID_BODY, "percent must be 0 to 100."));
    }
    if rollout.teams.iter().any(|team| team.0 <= 0) {
        return Err(Problem::new(Kind::INVALID_BODY, "A team id is a number above zero."));
    }
    admin.api.ports.teams.set_rollout(&rollout, OPERATOR).await?;
    let state = if rollout.enabled { "enabled" } else { "disabled" };
    tracing::info!(event = "vz_sync_rollout_changed", state, "an operator changed the rollout");
    admin.api.engine.nudge();
    Ok(Answer(admin.api.ports.teams.rollout().await?))
}

pub(super) async fn teams(
    State(admin): State<AdminState>,
) -> Result<Answer<Vec<TeamView>>, Problem> {
    Ok(Answer(admin.api.ports.teams.list().await?))
}

/// A team to be added or changed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamBody {
    name: String,
    platform_url: String,
    /// Absent, the team keeps those it has.
    #[serde(default)]
    cohorts: Option<Vec<String>>,
    /// Another `platform_url` leads to the same account: the mirror stays.
    #[serde(default)]
    same_account: bool,
    /// Replaced as a whole where given, left alone where not.
    #[serde(default)]
    overrides: Option<Overrides>,
}

/// What an override may be, in seconds: from half a minute to 30 days.
const OVERRIDE: std::ops::RangeInclusive<u32> = 30..=30 * 24 * 3600;

fn is_sound(overrides: &Overrides) -> bool {
    let Overrides {
        full_interval_seconds: full,
        delta_interval_seconds: delta,
        max_allowed_staleness_seconds: ages,
    } = overrides;
    let intervals = full.values().chain(delta.values());
    intervals.chain(ages.values()).all(|seconds| OVERRIDE.contains(seconds))
}

pub(super) async fn put_team(
    State(admin): State<AdminState>,
    ids: PathIds,
    Json(body): Json<TeamBody>,
) -> Result<Answer<TeamView>, Problem> {
    let id = TeamId(ids.number("team_id")?);
    let refuse = |detail: &str| Err(Problem::new(Kind::INVALID_BODY, detail));
    let sound = |text: &str| {
        (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if !sound(&body.name) || !body.cohorts.iter().flatten().all(|cohort| sound(cohort)) {
        return refuse("name and cohorts are 1 to 200 characters without control characters.");
    }
    if let Err(reason) = (admin.address)(&body.platform_url) {
        return refuse(&format!("platform_url is refused: {reason}."));
    }
    if body.overrides.as_ref().is_some_and(|overrides| !is_sound(overrides)) {
        return refuse("overrides are seconds from 30 to 2592000.");
    }
    let platform_url = body.platform_url.trim_end_matches('/').to_owned();
    let TeamBody { name, cohorts, same_account, overrides, .. } = body;
    let team = NewTeam { id, name, platform_url, cohorts, same_account };
    let mut view = admin.api.ports.teams.put(&team).await?;
    if let Some(overrides) = overrides {
        admin.api.ports.teams.set_overrides(id, &overrides).await?;
        view.overrides = overrides;
    }
    tracing::info!(
        event = "vz_sync_team_put",
        team_id = id.0,
        "an operator added or changed a team"
    );
    admin.api.engine.nudge();
    Ok(Answer(view))
}

pub(super) async fn remove_team(
    State(admin): State<AdminState>,
    ids: PathIds,
) -> Result<StatusCode, Problem> {
    let id = TeamId(ids.number("team_id")?);
    if !admin.api.ports.teams.remove(id).await? {
        return Err(Problem::not_found("The team"));
    }
    tracing::info!(event = "vz_sync_team_removed", team_id = id.0, "an operator removed a team");
    Ok(StatusCode::NO_CONTENT)
}
