//! From a request to an answer: parameters, faults, the method, delivery.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{self, Response, StatusCode};
use axum::routing::any;
use rand::RngExt;

use super::Shared;
use super::effects;
use super::fault::Fault;
use super::faults::Target;
use super::listing::envelope;
use super::methods::{Answer, Call, Method};
use super::params::Params;
use super::render::Form;
use super::reply::Reply;
use super::world::lock;

/// All paths of the simulator.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let platform = Router::new()
        .route("/1.0/{*path}", any(platform))
        .fallback(unknown)
        .with_state(Arc::clone(&shared));
    if shared.control { platform.merge(super::control::router(shared)) } else { platform }
}

async fn unknown(State(shared): State<Arc<Shared>>) -> Response<Body> {
    refuse(&shared, StatusCode::NOT_FOUND)
}

/// The front proxy's page, counted under its own name.
fn refuse(shared: &Shared, status: StatusCode) -> Response<Body> {
    let reply = Reply::page(status);
    shared.stats.begin("unknown", None).sent(reply.size());
    reply.into_response(shared.world.now())
}

async fn platform(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    request: Request,
) -> Response<Body> {
    let Some(method) = Method::at(&path) else { return refuse(&shared, StatusCode::NOT_FOUND) };
    // Methods that take a password are POST only; the proxy refuses what is neither GET nor POST.
    let fits = match *request.method() {
        http::Method::POST => true,
        http::Method::GET => method != Method::Signin,
        _ => false,
    };
    if !fits {
        return refuse(&shared, StatusCode::METHOD_NOT_ALLOWED);
    }
    let params = Params::read(request).await;
    answer(&shared, method, &params).await
}

async fn answer(shared: &Arc<Shared>, method: Method, params: &Params) -> Response<Body> {
    let session = params.session().unwrap_or_default();
    let key = shared.world.key(session);
    let uid = key.as_ref().map(|key| shared.world.account(key.account).uid);
    let running = shared.stats.begin(method.name(), uid);
    let row = (method == Method::SearchActions).then(|| start_row(params));
    let faults = shared.faults.firing(&Target { method: method.name(), uid, row });
    for fault in &faults {
        effects::wait(fault).await;
    }
    let call = Call { world: &shared.world, method, params, key, skew: effects::skew(&faults) };
    let instead = faults.iter().find_map(|fault| effects::instead(fault, method, session));
    let mut reply = match instead {
        Some(reply) => {
            pause(shared, 0.0).await;
            reply
        }
        None => Reply::json(answered(shared, &call, &faults).await),
    };
    for fault in &faults {
        reply = effects::on_wire(fault, reply);
    }
    running.sent(reply.size());
    reply.into_response(shared.world.now() + call.skew)
}

/// What the world answers, altered by the faults that work on content.
async fn answered(shared: &Arc<Shared>, call: &Call<'_>, faults: &[Fault]) -> bytes::Bytes {
    if let Some((index, form)) = call.listing_ahead() {
        // Rendering a big account takes long enough to hold up every other connection.
        let shared = Arc::clone(shared);
        let rendered = tokio::task::spawn_blocking(move || drop(shared.world.listing(index, form)));
        // A panic was reported by the panic hook; the call renders again and shows it.
        let _ = rendered.await;
    }
    let body = match call.answer() {
        Answer::Json(body) => {
            pause(shared, 0.0).await;
            body.into()
        }
        Answer::Listing(listing) => {
            let lazy = call.method.listing_form(call.params) == Some(Form::Lazy);
            pause(shared, listing.len() as f64 * if lazy { 0.1 } else { 1.0 }).await;
            if faults.iter().any(effects::is_for_elements) {
                let mut elements = listing.elements();
                for fault in faults {
                    effects::on_elements(fault, &mut elements);
                }
                envelope(&elements)
            } else {
                listing.body()
            }
        }
    };
    faults.iter().fold(body, |body, fault| effects::on_answer(fault, call.method, body))
}

/// Waits as long as the platform would work on so many environments.
async fn pause(shared: &Shared, environments: f64) {
    let latency = shared.latency;
    let chance =
        if latency.jitter.is_zero() { 0.0 } else { lock(&shared.world.rng).random_range(0.0..1.0) };
    let pause = latency.base
        + latency.jitter.mul_f64(chance)
        + latency.per_environment.mul_f64(environments);
    if pause > Duration::ZERO {
        tokio::time::sleep(pause).await;
    }
}

fn start_row(params: &Params) -> usize {
    let search = params.get("search").and_then(|text| serde_json::from_str(text).ok());
    search
        .and_then(|search: serde_json::Value| search["startRow"].as_u64())
        .map_or(0, |row| row as usize)
}
