//! Refusals, limits and headers that every route shares.

use axum::http::{HeaderMap, StatusCode};

use super::world::{Answer, World, config};

fn problem(answer: &Answer, status: StatusCode, name: &str) {
    assert_eq!(answer.status, status, "{}", answer.json);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json["type"], format!("urn:vz-sync:problem:{name}"), "{}", answer.json);
    assert_eq!(answer.json["status"], status.as_u16());
    assert_eq!(answer.json["request_id"], answer.headers["x-request-id"].to_str().unwrap());
    assert!(answer.json["title"].is_string() && answer.json["detail"].is_string());
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_a_problem() {
    let world = World::start().await;
    let team = "/api/v1/teams/1";
    let get = async |path: &str| world.get(&format!("{team}{path}")).await;

    problem(&get("/nothing").await, StatusCode::NOT_FOUND, "not-found");
    problem(&get("/environments?colour=red").await, StatusCode::BAD_REQUEST, "invalid-query");
    problem(&get("/vz-sync/jobs?colour=red").await, StatusCode::BAD_REQUEST, "invalid-query");
    problem(&get("/changes?id=x").await, StatusCode::BAD_REQUEST, "invalid-query");
    problem(&get("/vz-sync/jobs/abc").await, StatusCode::BAD_REQUEST, "invalid-id");
    problem(&get("/vz-sync/jobs/0").await, StatusCode::BAD_REQUEST, "invalid-id");
    problem(&get("/vz-sync/jobs/999").await, StatusCode::NOT_FOUND, "not-found");
    problem(&get("/environments/%00").await, StatusCode::BAD_REQUEST, "invalid-id");
    problem(&get("/environments/%ff").await, StatusCode::BAD_REQUEST, "invalid-id");
    for id in ["abc", "0", "-1", "01", "99999999999999999999"] {
        let answer = world.get(&format!("/api/v1/teams/{id}/nodes")).await;
        problem(&answer, StatusCode::BAD_REQUEST, "invalid-id");
    }
    let owner = world.owner();
    let auth = ("authorization", owner.as_str());
    let answer = world.send("DELETE", "/api/v1/teams", &[auth], "").await;
    problem(&answer, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
    assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));

    let sync = format!("{team}/vz-sync");
    let post = async |body: &str| world.post(&sync, body).await;
    problem(&post("{").await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-body");
    problem(&post("{\"colour\":1}").await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-body");
    problem(&post("{\"scope\":\"all\"}").await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-body");
    let large = format!("{{\"scope\":\"{}\"}}", "x".repeat(70_000));
    problem(&post(&large).await, StatusCode::PAYLOAD_TOO_LARGE, "body-too-large");
    let plain = [auth, ("content-type", "text/plain")];
    let answer = world.send("POST", &sync, &plain, "{}").await;
    problem(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
    let odd = [auth, ("idempotency-key", "with blank")];
    let answer = world.send("POST", &sync, &odd, "").await;
    problem(&answer, StatusCode::BAD_REQUEST, "invalid-header");
}

#[tokio::test(start_paused = true)]
async fn a_request_id_is_kept_only_when_it_is_harmless() {
    let world = World::start().await;
    let id = async |given: &str| {
        let answer = world.send("GET", "/docs", &[("x-request-id", given)], "").await;
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc-123").await, "abc-123");
    for odd in ["with blank", "<script>", &"x".repeat(65)] {
        assert_eq!(id(odd).await.len(), 36, "{odd}");
    }
}

fn careful(headers: &HeaderMap) {
    let csp = headers["content-security-policy"].to_str().unwrap();
    assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{csp}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
}

#[tokio::test(start_paused = true)]
async fn pages_are_served_carefully() {
    let world = World::start().await;
    for path in ["/docs", "/docs/page.js", "/docs/page.css", "/openapi.json", "/nothing"] {
        careful(&world.send("GET", path, &[], "").await.headers);
    }
    let page = world.send("GET", "/docs", &[], "").await.json.to_string();
    // Everything comes from here, and nothing is inline.
    assert!(!page.contains("://") && !page.contains("<style") && !page.contains("onclick"));
    assert!(page.matches("<script").count() == page.matches("<script src=").count());
}

#[tokio::test(start_paused = true)]
async fn only_listed_origins_may_call() {
    let preflight = async |world: &World, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        world.send("OPTIONS", "/api/v1/teams", &headers, "").await.headers
    };
    let world = World::start().await;
    let none = preflight(&world, "https://dash.example").await;
    assert!(none.get("access-control-allow-origin").is_none());

    let mut config = config();
    config.http.cors_origins = vec!["https://dash.example".into()];
    let world = World::start_with(config).await;
    let listed = preflight(&world, "https://dash.example").await;
    assert_eq!(listed["access-control-allow-origin"], "https://dash.example");
    assert!(
        preflight(&world, "https://evil.example")
            .await
            .get("access-control-allow-origin")
            .is_none()
    );
    let owner = world.owner();
    let headers = [("origin", "https://dash.example"), ("authorization", owner.as_str())];
    let answer = world.send("GET", "/api/v1/teams", &headers, "").await;
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    for name in ["etag", "retry-after", "vz-freshness", "vz-stale-reason"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}
