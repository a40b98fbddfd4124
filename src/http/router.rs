//! The public router, put together: routes, document, limits.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::problem::Problem;
use super::state::ApiState;
use super::{layers, openapi, routes};

/// The public API, ready to be served, with its description.
///
/// `extra` are routes of others on the same listener (the web page); they
/// pass the same layers.
pub fn public(
    api: &ApiState,
    extra: Router<ApiState>,
) -> Result<(Router, OpenApi), serde_json::Error> {
    let settings = &api.settings;
    let timed = from_fn_with_state(settings.request_timeout, layers::limit_time);
    let answering: OpenApiRouter<ApiState> = routes::answering().route_layer(timed);
    let (router, document) =
        openapi::frame().nest("/api/v1", answering.merge(routes::streaming())).split_for_parts();
    let router = router
        .merge(openapi::pages(&document)?)
        .merge(extra)
        .fallback(async || Problem::from_status(StatusCode::NOT_FOUND))
        .layer(DefaultBodyLimit::max(settings.body_limit))
        .layer(layers::cors(&settings.cors_origins))
        .layer(from_fn_with_state(api.metrics.clone(), layers::envelope))
        .with_state(api.clone());
    Ok((router, document))
}
