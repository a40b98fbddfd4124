//! The control endpoint: JSON under `/control/`, on the same listener, only when asked for.
//!
//! It has no authentication; the simulator holds nothing but invented data.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::door::Door;
use super::evolve::Mutation;
use super::faults::FaultRule;
use super::schedule::Schedule;
use super::world::{TokenState, WorldError};

type App = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/control/step", post(step))
        .route("/control/settle", post(settle))
        .route("/control/warm", post(warm))
        .route("/control/advance", post(advance))
        .route("/control/mutate", post(mutate))
        .route("/control/create", post(create))
        .route("/control/delete", post(delete))
        .route("/control/transfer", post(transfer))
        .route("/control/token", post(token))
        .route("/control/door", post(door))
        .route("/control/faults", get(faults).post(set_faults).delete(clear_faults))
        .route("/control/schedule", get(schedule).post(set_schedule).delete(clear_schedule))
        .route("/control/stats", get(stats).delete(reset_stats))
        .route("/control/world", get(accounts))
        .route("/control/world/{account}", get(world))
        .with_state(shared)
}

impl IntoResponse for WorldError {
    fn into_response(self) -> Response {
        (StatusCode::NOT_FOUND, Json(json!({"error": self.to_string()}))).into_response()
    }
}

/// Changing the world can render and search big accounts: off the threads that serve.
async fn off_thread<T: Send + 'static>(
    shared: Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, StatusCode> {
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[derive(Deserialize)]
struct Step {
    #[serde(default = "one")]
    n: u64,
}

fn one() -> u64 {
    1
}

async fn step(State(shared): App, Json(order): Json<Step>) -> Result<Response, StatusCode> {
    let happened = off_thread(shared, move |shared| shared.world.step(order.n)).await?;
    Ok(Json(json!({"happened": happened})).into_response())
}

async fn settle(State(shared): App) -> Result<StatusCode, StatusCode> {
    off_thread(shared, |shared| shared.world.settle()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn warm(State(shared): App) -> Result<StatusCode, StatusCode> {
    off_thread(shared, |shared| shared.world.warm()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Advance {
    seconds: i64,
}

async fn advance(State(shared): App, Json(order): Json<Advance>) -> StatusCode {
    shared.world.clock.advance(order.seconds);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Mutate {
    account: i64,
    #[serde(flatten)]
    mutation: Mutation,
}

async fn mutate(State(shared): App, Json(order): Json<Mutate>) -> Result<Response, StatusCode> {
    let work = move |shared: &Shared| shared.world.mutate(order.account, &order.mutation);
    Ok(match off_thread(shared, work).await? {
        Ok(changed) => Json(json!({"changed": changed})).into_response(),
        Err(error) => error.into_response(),
    })
}

#[derive(Deserialize)]
struct Create {
    account: i64,
}

async fn create(State(shared): App, Json(order): Json<Create>) -> Response {
    match shared.world.create(order.account) {
        Ok(created) => Json(created).into_response(),
        Err(error) => error.into_response(),
    }
}

#[derive(Deserialize)]
struct Delete {
    account: i64,
    env: String,
    #[serde(default)]
    silent: bool,
}

async fn delete(State(shared): App, Json(order): Json<Delete>) -> Response {
    done(shared.world.delete(order.account, &order.env, order.silent))
}

#[derive(Deserialize)]
struct Transfer {
    account: i64,
    env: String,
    to: i64,
    #[serde(default)]
    still_visible: bool,
}

async fn transfer(State(shared): App, Json(order): Json<Transfer>) -> Response {
    let Transfer { account, env, to, still_visible } = order;
    done(shared.world.transfer(account, &env, to, still_visible))
}

#[derive(Deserialize)]
struct TokenOrder {
    account: i64,
    /// Replaces the account's tokens by this one.
    replace: Option<String>,
    #[serde(flatten)]
    state: Option<TokenState>,
}

async fn token(State(shared): App, Json(order): Json<TokenOrder>) -> Response {
    let replaced =
        order.replace.map_or(Ok(()), |token| shared.world.replace_token(order.account, &token));
    let set =
        order.state.map_or(Ok(()), |state| shared.world.set_token_state(order.account, &state));
    done(replaced.and(set))
}

fn done(result: Result<(), WorldError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    }
}

#[derive(Deserialize)]
struct DoorOrder {
    state: Door,
    /// After this long the door opens by itself; without it only the in-process handle can open
    /// it again, since this endpoint is behind the same door.
    for_ms: Option<u64>,
}

async fn door(State(shared): App, Json(order): Json<DoorOrder>) -> StatusCode {
    tokio::spawn(async move {
        // The answer to this order has to get out before the door closes on it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        shared.door.set(order.state).await;
        if let Some(ms) = order.for_ms {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            shared.door.set(Door::Open).await;
        }
    });
    StatusCode::ACCEPTED
}

async fn faults(State(shared): App) -> Response {
    Json(json!({"rules": shared.faults.report()})).into_response()
}

async fn set_faults(State(shared): App, Json(rules): Json<Vec<FaultRule>>) -> StatusCode {
    shared.faults.set(rules);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(shared): App) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}

/// Spells that are shown ahead.
const AHEAD: u64 = 10;

async fn schedule(State(shared): App) -> Response {
    let Some((schedule, since)) = shared.followed() else {
        return Json(json!({"schedule": null})).into_response();
    };
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let number = now_ms / schedule.every_ms;
    let spells = (number..number + AHEAD).map(|number| schedule.spell(number)).collect::<Vec<_>>();
    Json(json!({"schedule": schedule, "now_ms": now_ms, "spells": spells})).into_response()
}

async fn set_schedule(State(shared): App, Json(schedule): Json<Schedule>) -> Response {
    if let Err(error) = schedule.check() {
        let error = json!({"error": error.to_string()});
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response();
    }
    shared.follow(Some(schedule)).await;
    StatusCode::NO_CONTENT.into_response()
}

async fn clear_schedule(State(shared): App) -> StatusCode {
    shared.follow(None).await;
    StatusCode::NO_CONTENT
}

async fn stats(State(shared): App) -> Response {
    Json(shared.stats.report()).into_response()
}

async fn reset_stats(State(shared): App) -> StatusCode {
    shared.stats.reset();
    StatusCode::NO_CONTENT
}

async fn accounts(State(shared): App) -> Response {
    Json(json!({"accounts": shared.world.accounts()})).into_response()
}

#[derive(Deserialize)]
struct Wanted {
    /// Whether to name every environment and node, not only to count them.
    #[serde(default)]
    items: bool,
}

async fn world(
    State(shared): App,
    Path(account): Path<i64>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, StatusCode> {
    let summary = off_thread(shared, move |shared| shared.world.summary(account)).await?;
    Ok(match summary {
        Ok(summary) if wanted.items => Json(summary).into_response(),
        Ok(summary) => {
            let names = summary.items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>();
            Json(json!({
                "uid": summary.uid, "environments": summary.environments,
                "nodes": summary.nodes, "hash": summary.hash, "names": names,
            }))
            .into_response()
        }
        Err(error) => error.into_response(),
    })
}
