//! Triggers, pause and resume, credentials, explanations.

use axum::http::StatusCode;
use vz_sync_actors::ports::teams::{Rollout, Teams};

use super::world::{Answer, World};

const SYNC: &str = "/api/v1/teams/1/vz-sync";

#[tokio::test(start_paused = true)]
async fn a_trigger_names_the_job_that_satisfies_it() {
    let world = World::mirrored().await;
    let answer = world.post(SYNC, r#"{"scope":"environments"}"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    let job = answer.json["jobs"][0]["job_id"].as_i64().unwrap();
    world.synced(2).await;
    let done = world.get(&format!("{SYNC}/jobs/{job}")).await.json;
    assert_eq!((&done["state"], &done["class"]), (&"succeeded".into(), &"manual".into()));
    assert_eq!(done["requested_by"], "ann");
    let all = world.send("POST", SYNC, &[("authorization", &world.owner())], "").await;
    assert_eq!(all.json["jobs"].as_array().unwrap().len(), 3, "no scope is every scope");
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_belongs_to_one_request() {
    let world = World::mirrored().await;
    let owner = world.owner();
    let send = async |body: &str| {
        let headers = [
            ("authorization", owner.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "k1"),
        ];
        world.send("POST", SYNC, &headers, body).await
    };
    let first = send(r#"{"scope":"environments"}"#).await;
    let again = send(r#"{ "scope" : "environments", "mode": null }"#).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.json);
    assert_eq!(again.json["jobs"][0]["job_id"], first.json["jobs"][0]["job_id"]);
    let other = send(r#"{"scope":"job_logs"}"#).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.json["type"], "urn:vz-sync:problem:idempotency-conflict");
}

#[tokio::test(start_paused = true)]
async fn too_many_triggers_are_told_when_to_come_back() {
    let world = World::start().await;
    let most = world.config.limits.triggers_per_team_per_minute;
    let mut last = None;
    for _ in 0..=most {
        last = Some(world.post(SYNC, r#"{"scope":"environments"}"#).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS, "{}", last.json);
    let seconds: u64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_switched_off_pipeline_serves_reads_and_refuses_triggers() {
    let world = World::mirrored().await;
    world.store.set_rollout(&Rollout::default(), "tester").await.unwrap();
    let refused = world.post(SYNC, "{}").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json["type"], "urn:vz-sync:problem:out-of-rollout");
    let served = world.get("/api/v1/teams/1/environments").await;
    assert_eq!(served.json["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_paused_team_rests_until_it_is_resumed() {
    let world = World::mirrored().await;
    let paused = world.post(&format!("{SYNC}/pause"), r#"{"reason":"maintenance"}"#).await;
    assert_eq!(paused.status, StatusCode::NO_CONTENT);
    let refused = world.post(SYNC, "{}").await;
    assert_eq!(refused.json["type"], "urn:vz-sync:problem:paused");
    assert_eq!(world.get(SYNC).await.json["scopes"][0]["status"], "paused");
    assert_eq!(world.post(&format!("{SYNC}/resume"), "").await.status, StatusCode::NO_CONTENT);
    world.synced(2).await;
}

#[tokio::test(start_paused = true)]
async fn status_and_explanation_are_true() {
    let world = World::mirrored().await;
    let status = world.get(SYNC).await.json;
    let scope = &status["scopes"][0];
    assert_eq!(scope["scope"], "environments");
    assert_eq!(scope["freshness"]["environments"]["freshness"], "current");
    assert_eq!(scope["last_run"]["mode"], "full");
    assert!(scope["next_run"]["delta_at"].is_string());
    let why = world.get(&format!("{SYNC}/explain")).await;
    assert_eq!(why.status, StatusCode::OK, "{}", why.json);
    let why = &why.json["scopes"][0];
    assert_eq!(why["last_jobs"][0]["state"], "succeeded");
    assert!(why["lease"].is_null() && why["resting"].is_null() && why["expected_at"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_checked_before_it_is_stored_and_never_shown() {
    let world = World::mirrored().await;
    let owner = world.owner();
    let put = async |body: &str| -> Answer {
        let headers = [("authorization", owner.as_str()), ("content-type", "application/json")];
        world.send("PUT", "/api/v1/teams/1/vz-credentials", &headers, body).await
    };
    let refused = put(r#"{"session_key":"stolen-key"}"#).await;
    assert_eq!(refused.json["type"], "urn:vz-sync:problem:credentials-refused");
    assert!(!refused.json.to_string().contains("stolen-key"));
    let disabled = put(r#"{"session_key":"disabled-account"}"#).await;
    assert_eq!(disabled.json["type"], "urn:vz-sync:problem:credentials-refused");
    let other = put(r#"{"session_key":"other-account"}"#).await;
    assert_eq!(other.json["type"], "urn:vz-sync:problem:account-changed");
    let words = put(r#"{"session_key":"two words"}"#).await;
    assert_eq!(words.json["type"], "urn:vz-sync:problem:invalid-body");
    for bad in [r#"{"session_key":""}"#, r#"{"session_key":7}"#, r#"{"session_key":"a","x":1}"#] {
        assert_eq!(put(bad).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let stored = put(r#"{"session_key":"good-key"}"#).await;
    assert_eq!(stored.json, serde_json::json!({ "owner_uid": super::world::OWNER_UID }));
    let path = "/api/v1/teams/1/vz-credentials";
    let erased = world.send("DELETE", path, &[("authorization", &owner)], "").await;
    assert_eq!(erased.status, StatusCode::NO_CONTENT);
    assert_eq!(world.post(SYNC, "{}").await.json["type"], "urn:vz-sync:problem:no-credentials");
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_account_needs_a_word_and_puts_the_old_mirror_away() {
    let world = World::mirrored().await;
    let owner = world.owner();
    let put = async |body: &str| -> Answer {
        let headers = [("authorization", owner.as_str()), ("content-type", "application/json")];
        world.send("PUT", "/api/v1/teams/1/vz-credentials", &headers, body).await
    };
    let archived = async || {
        let answer = world.get("/api/v1/teams/1/archived-sites").await;
        answer.json["items"].as_array().map(Vec::len)
    };
    let refused = put(r#"{"session_key":"other-account","replace_account":false}"#).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json["type"], "urn:vz-sync:problem:account-changed");
    assert_eq!(archived().await, Some(0));
    // At rest, so that no run brings anything back before it is looked at.
    world.post(&format!("{SYNC}/pause"), r#"{"reason":"moving"}"#).await;
    let replaced = put(r#"{"session_key":"other-account","replace_account":true}"#).await;
    assert_eq!(replaced.json, serde_json::json!({ "owner_uid": 1 }));
    assert_eq!(archived().await, Some(3));
}
