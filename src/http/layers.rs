//! What every request passes through: an id, a limit on time, a net for
//! panics, a counter, and headers that keep browsers careful.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::stream::poll_fn;
use futures_util::{FutureExt, StreamExt as _};
use tokio::time::Instant;
use tower_http::cors::{AllowOrigin, CorsLayer};
use uuid::Uuid;

use super::freshness::{VZ_FRESH_UNTIL, VZ_FRESHNESS, VZ_STALE_REASON, VZ_SYNCED_AT};
use super::metrics::Metrics;
use super::problem::{Kind, Problem};

/// Under which the log knows a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Scripts and styles of our own only, nothing inline, nobody may frame us.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

/// The outermost layer of both listeners.
pub async fn envelope(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    let method = known(request.method());
    let started = Instant::now();
    let caught = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = caught.unwrap_or_else(|panic| panicked(panic.as_ref(), &id, &route));
    let mut response = Problem::complete(response, &id);
    let status = response.status();
    metrics.http_requests.with_label_values(&[route.as_str(), method, status.as_str()]).inc();
    let took = started.elapsed();
    metrics.http_duration.with_label_values(&[route.as_str()]).observe(took.as_secs_f64());
    if status.is_server_error() {
        tracing::warn!(
            event = "http_request",
            request_id = id,
            method,
            route,
            http_status = status.as_u16(),
            duration_ms = took.as_millis() as u64,
            "a request failed"
        );
    } else {
        tracing::debug!(
            event = "http_request",
            request_id = id,
            method,
            route,
            http_status = status.as_u16(),
            duration_ms = took.as_millis() as u64,
            "a request was answered"
        );
    }
    careful(response.headers_mut(), &id);
    response
}

/// The caller's id if it is harmless, else one of ours.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless);
    given.map_or_else(|| Uuid::new_v4().to_string(), ToOwned::to_owned)
}

/// A method as a label; a client may invent others without end.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

fn panicked(_panic: &(dyn Any + Send), id: &str, route: &str) -> Response {
    // The panic hook has logged the place; the message may hold anything.
    tracing::error!(event = "http_panicked", request_id = id, route, "a handler panicked");
    Problem::new(Kind::INTERNAL, "The request id finds the cause in the log.").into_response()
}

fn careful(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Gives a route this long to answer, from the request's last header on; not
/// for streams. Whoever is waited for then is told apart: the client, if it
/// still owes its body, or us.
pub async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let (request, owes_body) = watch_body(request);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) if owes_body.load(Ordering::Relaxed) => {
            let detail = format!("The body did not come within {} s.", limit.as_secs());
            Problem::new(Kind::TIMEOUT, detail).into_response()
        }
        Err(_) => Problem::new(Kind::UNAVAILABLE, "The answer took too long; try again.")
            .retry_after(5)
            .into_response(),
    }
}

/// The request with a mark that is set while somebody waits for its body.
fn watch_body(request: Request) -> (Request, Arc<AtomicBool>) {
    let owes = Arc::new(AtomicBool::new(false));
    if request.body().is_end_stream() {
        return (request, owes);
    }
    let mark = Arc::clone(&owes);
    let watched = request.map(|body| {
        let mut data = body.into_data_stream();
        Body::from_stream(poll_fn(move |context| {
            let polled = data.poll_next_unpin(context);
            mark.store(polled.is_pending(), Ordering::Relaxed);
            polled
        }))
    });
    (watched, owes)
}

/// Browsers of exactly these origins may call; none by default. No
/// credentials: the token is sent by the page itself.
pub fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("traceparent"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            VZ_FRESHNESS,
            VZ_SYNCED_AT,
            VZ_FRESH_UNTIL,
            VZ_STALE_REASON,
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600))
}
