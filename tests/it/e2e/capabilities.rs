//! A token that may not do everything.

use std::collections::BTreeSet;

use serde_json::Value;
use vz_sync::simulator::TokenState;

use crate::support::service::World;

/// Lets the team's token do this and nothing else.
fn allow(world: &World, methods: &[&str]) {
    let methods = methods.iter().map(|method| format!("environment.control.{method}")).collect();
    let restricted = TokenState::Restricted { methods };
    world.simulator().world().set_token_state(world.uid(1), &restricted).expect("an account");
}

/// Methods that a scope does without, as the API shows them.
async fn missing(world: &World, scope: &str) -> BTreeSet<String> {
    let mut shown = Vec::new();
    for path in ["/teams/1/vz-sync", "/teams/1/vz-sync/explain"] {
        let answer = world.api(path).await;
        let scopes = answer["scopes"].as_array().expect("scopes");
        let of = scopes.iter().find(|of| of["scope"] == scope).expect("the scope");
        let missing = of["capabilities_missing"].as_array().expect("a list").iter();
        let name = |method: &Value| method["method"].as_str().expect("a name").to_owned();
        shown.push(missing.map(name).collect::<BTreeSet<_>>());
    }
    assert_eq!(shown[0], shown[1], "status and explain say the same");
    shown.remove(0)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_token_may_not_do_is_done_without() {
    let world = World::start(1, 12, 2).await;
    assert_eq!(missing(&world, "environments").await, names(&[]));
    let platform = world.simulator().world();

    // The wider listing in the place of the smaller one: the same mirror.
    allow(&world, &["GetUserInfo", "GetEnvs", "GetEnvInfo"]);
    let done = world.synced(1, "environments", "full").await;
    assert_eq!(done.data()["changed"], Value::Array(Vec::new()), "both give the same items");
    platform.step(10);
    platform.settle();
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "by the wider listing").await;
    assert_eq!(missing(&world, "environments").await, names(&["getbasicenvsinfo"]));

    // A full in the place of a delta.
    allow(&world, &["GetUserInfo", "GetBasicEnvsInfo", "GetEnvInfo"]);
    platform.step(10);
    platform.settle();
    let done = world.synced(1, "environments", "delta").await;
    assert_eq!(done.data()["mode"], "full");
    world.assert_mirrored(1, "without outlines").await;
    let without = missing(&world, "environments").await;
    assert!(without.contains("getenvs") && !without.contains("getbasicenvsinfo"), "{without:?}");

    // No history: nothing to verify, and nobody's failure.
    let done = world.sync(1, "job_logs", "full").await;
    assert_eq!(
        (done.kind.as_str(), &done.data()["partial"]),
        ("sync.completed", &"capability_missing".into())
    );
    assert_eq!(missing(&world, "job_logs").await, names(&["searchactions"]));
    let age = "update vz_sync_data_types set verified_at = verified_at - interval '1 hour'
               where data_type = 'job_logs' returning 1";
    world.sql(age, &[]).await;
    let logs = world.api("/teams/1/job-logs").await;
    assert_eq!(logs["freshness"]["stale_reason"], "capability_missing", "{}", logs["freshness"]);
    let paused = "select count(*) from team_settings where auth_failed_at is not null or paused_at is not null";
    assert_eq!(world.number(paused, &[]).await, 0);

    // Neither listing: that is no key for a mirror.
    allow(&world, &["GetUserInfo", "GetEnvInfo", "SearchActions"]);
    let done = world.sync(1, "environments", "full").await;
    assert_eq!(done.kind, "sync.failed", "{done:?}");
    assert_eq!(world.number(paused, &[]).await, 1);
}
