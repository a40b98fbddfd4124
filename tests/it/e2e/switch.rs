//! The switch of a process, ENABLE_VZ_SYNC_PIPELINE: read at every start.

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
