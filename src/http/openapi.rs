//! The API's description, generated from the routes, and its page.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use super::problem::ProblemDocument;
use super::state::ApiState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vz-sync",
        description = "What hosting teams run on a Virtuozzo Application Platform, from a mirror that always says how fresh it is.\n\nRefusals are RFC 9457 problems. A team of which the token says nothing is answered with 404.",
    ),
    components(schemas(ProblemDocument)),
    tags(
        (name = "teams", description = "The token's teams"),
        (name = "sync", description = "The pipeline of a team"),
        (name = "removals", description = "Removals that wait for a decision"),
        (name = "credentials", description = "The platform key"),
        (name = "mirror", description = "What is mirrored"),
        (name = "events", description = "What happens"),
    ),
)]
struct Document;

/// An empty router with the document's frame.
pub fn frame() -> OpenApiRouter<ApiState> {
    let mut document = Document::openapi();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".into());
    bearer.description = Some(
        "Claim `teams`: {\"42\": \"owner\"}. The list beside each route names its permission."
            .into(),
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    OpenApiRouter::with_openapi(document)
}

/// `/openapi.json` and `/docs`. Nothing here is secret, nothing is per tenant.
pub fn pages(document: &utoipa::openapi::OpenApi) -> Result<Router<ApiState>, serde_json::Error> {
    let json: axum::body::Bytes = serde_json::to_vec(document)?.into();
    Ok(Router::new()
        .route("/openapi.json", get(async move || page("application/json", json.clone())))
        .route("/docs", get(async || page(HTML, include_str!("docs/index.html"))))
        .route("/docs/page.css", get(async || page(CSS, include_str!("docs/page.css"))))
        .route("/docs/page.js", get(async || page(JS, include_str!("docs/page.js")))))
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

fn page(media: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
