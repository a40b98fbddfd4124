//! What operators do: switch a process off, add and move teams.

use serde_json::json;

use crate::support::service::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_switched_off_serves_and_refuses_until_it_is_switched_on() {
    let mut world = World::start(1, 4, 1).await;
    let trigger = Some(json!({ "scope": "environments" }));
    world.stop().await;
    world.configure(|config| config.pipeline.enabled = false);
    world.start_again().await;
    let page = world.api("/teams/1/environments").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(4));
    let refused = world.owner("POST", "/teams/1/vz-sync", trigger.as_ref()).await;
    assert_eq!(refused.status, 409, "{}", refused.json);
    assert_eq!(refused.json["type"], "urn:vz-sync:problem:out-of-rollout");
    let teams = world.api("/teams").await;
    assert_eq!(teams["teams"][0]["resting"], "out_of_rollout", "{teams}");
    let rollout = world.admin("GET", "/rollout", None).await.json;
    assert_eq!(rollout["enabled"], true, "the others' switch is another one: {rollout}");

    world.stop().await;
    world.configure(|config| config.pipeline.enabled = true);
    world.start_again().await;
    world.synced(1, "environments", "full").await;
    let teams = world.api("/teams").await;
    assert_eq!(teams["teams"][0]["resting"], serde_json::Value::Null, "{teams}");

    // The other switch, while it runs.
    let off = json!({ "enabled": false, "everyone": true, "percent": 100 });
    assert_eq!(world.admin("POST", "/rollout", Some(&off)).await.status, 200);
    let refused = world.owner("POST", "/teams/1/vz-sync", trigger.as_ref()).await;
    assert_eq!(refused.status, 409, "{}", refused.json);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_in_a_private_network_is_refused() {
    let world = World::start(1, 2, 1).await;
    let put = async |url: &str| {
        let body = json!({ "name": "Other", "platform_url": url });
        world.admin("PUT", "/teams/9", Some(&body)).await
    };
    for url in [
        "https://10.0.0.1",
        "https://169.254.169.254",
        "http://app.hoster.example",
        "https://user:canary@app.hoster.example",
        "https://app.hoster.example/path",
    ] {
        let answer = put(url).await;
        assert_eq!(answer.status, 422, "{url}: {}", answer.json);
        assert_eq!(answer.json["type"], "urn:vz-sync:problem:invalid-body");
        assert!(!answer.json.to_string().contains("canary"), "{}", answer.json);
    }
    assert_eq!(world.number("select count(*) from teams", &[]).await, 1);
    assert_eq!(put("https://app.hoster.example").await.status, 200, "control");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_that_moves_to_another_platform_is_never_current_with_the_old_mirror() {
    let world = World::start(2, 5, 1).await;
    let before = world.api("/teams/1/environments").await;
    assert_eq!(before["freshness"]["freshness"], "current", "control");
    // The same simulator by another name: another platform, as far as anybody can tell.
    let elsewhere = world.simulator().base_url().replace("127.0.0.1", "localhost");
    let body = json!({ "name": "Moved", "platform_url": elsewhere });
    let moved = world.admin("PUT", "/teams/1", Some(&body)).await;
    assert_eq!((moved.status, &moved.json["owner_uid"]), (200, &json!(null)), "{}", moved.json);
    let page = world.api("/teams/1/environments").await;
    assert_eq!(page["items"], json!([]), "{page}");
    assert_eq!(page["freshness"]["freshness"], "stale", "{page}");
    let archived = world.listed(1, "archived-sites", "&reason=account_replaced").await;
    assert_eq!(archived.len(), 5);

    let other = world.simulator().world().token(world.uid(2)).expect("a token").to_owned();
    let key = json!({ "session_key": other });
    let taken = world.owner("PUT", "/teams/1/vz-credentials", Some(&key)).await;
    assert_eq!((taken.status, taken.json["owner_uid"].as_i64()), (200, Some(world.uid(2))));
    world.synced(1, "environments", "full").await;
    let page = world.api("/teams/1/environments").await;
    assert_eq!(page["freshness"]["freshness"], "current", "{page}");
}
