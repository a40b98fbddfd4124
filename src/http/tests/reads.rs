//! Reading the mirror: items, pages, tags, freshness, history.

use std::time::Duration;

use axum::http::StatusCode;

use super::world::World;

const LIST: &str = "/api/v1/teams/1/environments";

#[tokio::test(start_paused = true)]
async fn a_listing_says_what_there_is_and_how_fresh_it_is() {
    let world = World::mirrored().await;
    let answer = world.get(&format!("{LIST}?include=nodes,payload")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let items = answer.json["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert_eq!(items[0]["env_name"], "alpha");
    assert_eq!(items[0]["status"]["name"], "RUNNING");
    assert_eq!(items[0]["nodes"][0]["id"], "node-alpha");
    assert_eq!(items[0]["payload"]["env"]["envName"], "alpha");
    let freshness = &answer.json["freshness"];
    assert_eq!(freshness["freshness"], "current");
    assert_eq!(freshness["verified_by"], "full");
    assert_eq!(freshness["max_allowed_staleness_seconds"], 900);
    assert_eq!(answer.headers["vz-freshness"], "current");
    assert_eq!(answer.headers["vz-synced-at"].to_str().unwrap(), freshness["synced_at"]);
    assert_eq!(answer.headers["cache-control"], "private, no-cache");

    let teams = world.get("/api/v1/teams").await.json;
    assert_eq!(teams["teams"][0]["environments"]["RUNNING"], 3);
    assert_eq!(teams["teams"][0]["freshness"]["nodes"]["freshness"], "current");
    assert_eq!(teams["teams"].as_array().unwrap().len(), 1, "only the token's teams");
}

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other() {
    let world = World::mirrored().await;
    let first = world.get(&format!("{LIST}?limit=2&sort=-env_name")).await.json;
    let names = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["env_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first), ["gamma", "beta"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = world.get(&format!("{LIST}?limit=2&sort=-env_name&cursor={cursor}")).await.json;
    assert_eq!(names(&second), ["alpha"]);
    assert!(second["next_cursor"].is_null());
    assert_eq!(names(&world.get(&format!("{LIST}?env_name=beta")).await.json), ["beta"]);
    assert_eq!(names(&world.get(&format!("{LIST}?q=GAMM")).await.json), ["gamma"]);
    assert!(names(&world.get(&format!("{LIST}?status=DOWN")).await.json).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tag_covers_items_and_query_but_not_freshness() {
    let world = World::mirrored().await;
    let owner = world.owner();
    let conditional = async |path: &str, tag: &str| {
        let headers = [("authorization", owner.as_str()), ("if-none-match", tag)];
        world.send("GET", path, &headers, "").await
    };
    let first = world.get(LIST).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    // A later run verifies the same rows: younger, and still the same answer.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.post("/api/v1/teams/1/vz-sync", r#"{"scope":"environments","mode":"full"}"#).await;
    world.synced(2).await;
    let same = conditional(LIST, &tag).await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    assert_eq!(same.headers["etag"].to_str().unwrap(), tag);
    assert_eq!(same.headers["vz-freshness"], "current");
    assert_ne!(same.headers["vz-synced-at"], first.headers["vz-synced-at"]);
    let other = conditional(&format!("{LIST}?limit=7"), &tag).await;
    assert_eq!(other.status, StatusCode::OK, "another query is another answer");

    world.platform.environments.lock().unwrap()[0].1 = 2;
    world.post("/api/v1/teams/1/vz-sync", r#"{"scope":"environments","mode":"full"}"#).await;
    world.synced(3).await;
    let changed = conditional(LIST, &tag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.json["items"][0]["status"]["name"], "DOWN");
}

#[tokio::test(start_paused = true)]
async fn history_tells_what_changed_and_how_it_was() {
    let world = World::mirrored().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = world.get(LIST).await.json["freshness"]["synced_at"].as_str().unwrap().to_owned();
    world.platform.environments.lock().unwrap()[0].1 = 2;
    world.post("/api/v1/teams/1/vz-sync", r#"{"scope":"environments","mode":"full"}"#).await;
    world.synced(2).await;

    let changes = world.get("/api/v1/teams/1/changes?data_type=environments").await.json;
    assert_eq!(changes["items"].as_array().unwrap().len(), 1, "{changes}");
    assert_eq!(changes["items"][0]["patch"][0]["path"], "/env/status");
    let after = changes["next_after"].as_i64().unwrap();
    let rest =
        world.get(&format!("/api/v1/teams/1/changes?data_type=environments&after={after}")).await;
    assert!(rest.json["items"].as_array().unwrap().is_empty());

    let one = world.get(&format!("{LIST}/appid-alpha")).await;
    assert_eq!(one.json["item"]["status"]["name"], "DOWN");
    let then = world.get(&format!("{LIST}/appid-alpha?at={before}")).await;
    assert_eq!(then.json["item"]["payload"]["env"]["status"], 1, "{}", then.json);
    let unknown = world.get(&format!("{LIST}/appid-alpha?at=1999-01-01T00:00:00Z")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&format!("{LIST}/nobody")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_patient_reader_gets_a_younger_answer() {
    let world = World::mirrored().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let synced = |answer: &super::world::Answer| answer.json["freshness"]["synced_at"].to_string();
    let old = world.get(LIST).await;
    let hasty = world.get(&format!("{LIST}?max_age=30s")).await;
    assert_eq!(synced(&hasty), synced(&old), "without wait the answer is what there is");
    tokio::time::sleep(Duration::from_secs(120)).await;
    let patient = world.get(&format!("{LIST}?max_age=30s&wait=10s")).await;
    assert!(synced(&patient) > synced(&old), "{} {}", synced(&patient), synced(&old));
    let jobs = world.get("/api/v1/teams/1/vz-sync/jobs").await.json;
    let jobs = jobs["items"].as_array().unwrap();
    assert!(jobs.iter().any(|job| job["class"] == "demand" && job["requested_by"] == "reader"));
}

#[tokio::test(start_paused = true)]
async fn a_stale_read_asks_for_a_run_and_says_why_it_is_stale() {
    let world = World::start().await;
    // Team 2 has no key: it cannot be helped, and the answer says so.
    let token = world.token(&[(2, crate::http::auth::Role::Developer)]);
    let path = "/api/v1/teams/2/environments";
    let answer = world.send("GET", path, &[("authorization", &token)], "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(answer.json["freshness"]["freshness"], "stale");
    assert_eq!(answer.json["freshness"]["stale_reason"], "no_credentials");
    assert_eq!(answer.headers["vz-stale-reason"], "no_credentials");
    let missing = world.token(&[(3, crate::http::auth::Role::Owner)]);
    let path = "/api/v1/teams/3/environments";
    let answer = world.send("GET", path, &[("authorization", &missing)], "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "a team of the token that is not here");
}
