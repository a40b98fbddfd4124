//! A platform whose clock is wrong.

use serde_json::Value;
use vz_sync::simulator::{AccountSummary, Change, Fault, FaultRule, Mutation};

use crate::support::service::World;

/// A change that a lazy listing does not show: only the history tells of it.
fn scaled(silent: bool) -> Mutation {
    let kinds = vec![Change::Cloudlets];
    Mutation { count: Some(2), kinds, silent, ..Mutation::default() }
}

async fn off(seconds: i64) {
    let world = World::start(1, 40, 2).await;
    let (platform, uid) = (world.simulator().world(), world.uid(1));
    world.simulator().faults().set(vec![FaultRule::new(Fault::ClockSkew { seconds })]);
    world.synced(1, "environments", "full").await;
    platform.mutate(uid, &scaled(false)).expect("an account");
    platform.settle();
    let done = world.synced(1, "environments", "delta").await;
    assert_eq!(done.data()["mode"], "delta");
    world.assert_mirrored(1, "after a delta by the platform's clock").await;
    for table in ["environments", "nodes"] {
        world.says(table, None).await;
        let block = world.api("/teams/1/vz-sync").await["scopes"][0]["freshness"][table].clone();
        let now = world.api("/teams/1/vz-sync").await["now"].clone();
        let text = |value: &Value| value.as_str().expect("a time").to_owned();
        assert!(text(&block["synced_at"]) < text(&now), "nothing is promised for the future");
    }
    // Control: without a word in the history, a delta cannot know.
    platform.mutate(uid, &scaled(true)).expect("an account");
    world.synced(1, "environments", "delta").await;
    let truth = platform.summary(uid).expect("an account");
    assert_ne!(AccountSummary::hash_of(&world.mirror(1).await), truth.hash);
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "after the full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_ahead() {
    off(3600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_behind() {
    off(-3600).await;
}
