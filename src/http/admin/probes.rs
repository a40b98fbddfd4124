//! Liveness, readiness and metrics.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::AdminState;
use crate::http::metrics;

/// A database that takes longer is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: [Check; 3],
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Check {
    fn new(name: &'static str, ok: bool, reason: &'static str) -> Self {
        Self { name, ok, reason: (!ok).then_some(reason) }
    }
}

/// 200 while the root supervisor answers: otherwise a restart is the cure.
pub(super) async fn live(State(admin): State<AdminState>) -> Response {
    if (admin.heartbeat)().await {
        Json(serde_json::json!({ "alive": true })).into_response()
    } else {
        let body =
            serde_json::json!({ "alive": false, "reason": "the root supervisor does not answer" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

/// 200 while requests can be served, with the reasons when they cannot.
pub(super) async fn ready(State(admin): State<AdminState>) -> Response {
    let database = async {
        let asked = tokio::time::timeout(PATIENCE, admin.api.ports.teams.rollout()).await;
        matches!(asked, Ok(Ok(_)))
    };
    let (database, engine) = tokio::join!(database, (admin.heartbeat)());
    let stopping = admin.api.stopping.is_cancelled();
    let checks = [
        Check::new("database", database, "the database does not answer"),
        Check::new("engine", engine, "the root supervisor does not answer"),
        Check::new("serving", !stopping, "the service is stopping"),
    ];
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks })).into_response()
}

/// Prometheus text.
pub(super) async fn metrics(State(admin): State<AdminState>) -> Response {
    match metrics::render(&admin.api).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(event = "metrics_failed", error = %error, "metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
