//! The admin listener: probes, metrics, the actors, queues, replicas, teams
//! and the rollout.
//!
//! Probes and metrics ask for no token, since whatever scrapes them has none;
//! everything under `/admin` asks for the bearer token of the configuration,
//! and refuses all without one. Nothing here is mounted on the public
//! listener.

mod actors;
mod fleet;
mod probes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use futures_util::future::BoxFuture;

use super::auth::{AdminToken, Refusal};
use super::layers;
use super::problem::Problem;
use super::state::ApiState;

/// Whether the engine's root supervisor answers.
pub type Heartbeat = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Judges the address of a platform; an error says what is wrong with it.
pub type AddressJudge = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What the admin routes share.
#[derive(Clone)]
pub struct AdminState {
    /// The same as the public API's.
    pub api: ApiState,
    /// The token; `None` refuses all.
    pub token: Option<AdminToken>,
    /// The engine's pulse.
    pub heartbeat: Heartbeat,
    /// Whether a platform may live at an address.
    pub address: AddressJudge,
}

/// Who is noted as the author of a change: the admin token names nobody.
const OPERATOR: &str = "operator";

/// Longest time an admin route may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The admin router. `extra` are routes of others on the same listener (the
/// actor page); they need no token and must show nothing by themselves.
pub fn router(admin: &AdminState, extra: Router<AdminState>) -> Router {
    let guarded = Router::new()
        .route("/actors", get(actors::tree))
        .route("/actors/{*id}", get(actors::one).post(actors::act))
        .route("/queues", get(fleet::queues))
        .route("/replicas", get(fleet::replicas))
        .route("/platforms", get(fleet::platforms))
        .route("/rollout", get(fleet::rollout).post(fleet::set_rollout))
        .route("/teams", get(fleet::teams))
        .route("/teams/{team_id}", put(fleet::put_team).delete(fleet::remove_team))
        .route_layer(from_fn_with_state(admin.clone(), guard));
    Router::new()
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/metrics", get(probes::metrics))
        .nest("/admin", guarded)
        .merge(extra)
        .fallback(async || Problem::from_status(StatusCode::NOT_FOUND))
        .layer(from_fn_with_state(LIMIT, layers::limit_time))
        .layer(DefaultBodyLimit::max(admin.api.settings.body_limit))
        .layer(from_fn_with_state(admin.api.metrics.clone(), layers::envelope))
        .with_state(admin.clone())
}

async fn guard(State(admin): State<AdminState>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let verified = match &admin.token {
        Some(token) => token.verify_header(header),
        None => Err(Refusal::Missing),
    };
    match verified {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            admin.api.metrics.auth_violations.with_label_values(&["admin"]).inc();
            tracing::warn!(
                event = "auth_violation",
                reason = refusal.reason(),
                method = %request.method(),
                "an admin request was refused"
            );
            Problem::from(refusal).into_response()
        }
    }
}
