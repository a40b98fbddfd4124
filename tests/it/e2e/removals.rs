//! Nothing disappears because of a hiccup, and what is gone goes.

use serde_json::{Value, json};
use vz_sync::simulator::{Fault, FaultRule};

use crate::support::service::World;

const FULL_LISTING: &str = "getbasicenvsinfo";

/// Rows of the team that are stale.
async fn stale(world: &World, table: &str) -> i64 {
    world.number(&format!("select count(*) from {table} where team_id = 1 and stale"), &[]).await
}

/// Ids that the listing suffers a fault for, in every way to ask for one.
fn on_listings(fault: &Fault) -> Vec<FaultRule> {
    [FULL_LISTING, "getenvs"].map(|method| FaultRule::new(fault.clone()).method(method)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_environment_goes_in_one_run_and_a_restored_one_returns() {
    let world = World::start(2, 12, 2).await;
    let uid = world.uid(1);
    let platform = world.simulator().world();
    let gone = platform.summary(uid).expect("an account").items[3].clone();
    // Given away, so that it can come back with the same id; to its former
    // owner the platform answers as if it were deleted.
    platform.transfer(uid, &gone.appid, world.uid(2), false).expect("it goes");

    let done = world.synced(1, "environments", "full").await;
    assert_eq!(done.data()["counts"]["stale"], 3, "it and its nodes: {done:?}");
    assert_eq!(stale(&world, "environments").await, 1);
    assert_eq!(stale(&world, "nodes").await, 2);
    let archived = "select count(*) from archived_sites
                    where team_id = 1 and id = $1 and not stale and jsonb_array_length(nodes) = 2";
    assert_eq!(world.number(archived, &[&gone.appid]).await, 1);
    assert!(!world.listed(1, "environments", "").await.contains(&gone.appid));
    assert!(world.listed(1, "environments", "&include_stale=true").await.contains(&gone.appid));
    assert_eq!(world.listed(1, "archived-sites", "").await, std::slice::from_ref(&gone.appid));
    assert_eq!(world.listed(1, "nodes", "").await.len(), 22);
    world.assert_mirrored(1, "after the deletion").await;

    platform.transfer(world.uid(2), &gone.appid, uid, false).expect("it comes back");
    let done = world.synced(1, "environments", "full").await;
    assert_eq!(done.data()["counts"]["returned"], 3, "{done:?}");
    assert!(world.listed(1, "environments", "").await.contains(&gone.appid));
    assert!(world.listed(1, "archived-sites", "").await.is_empty());
    let first_seen = "select count(*) from environments e where id = $1 and first_seen_at =
                      (select min(first_seen_at) from environments where team_id = 1)";
    assert_eq!(world.number(first_seen, &[&gone.appid]).await, 1, "it is the same row");
    world.assert_mirrored(1, "after the return").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_without_a_trace_shows_in_a_delta_too() {
    let world = World::start(1, 12, 1).await;
    let platform = world.simulator().world();
    let gone = platform.summary(world.uid(1)).expect("an account").items[0].clone();
    platform.delete(world.uid(1), &gone.name, true).expect("it goes");
    world.synced(1, "environments", "delta").await;
    world.assert_mirrored(1, "after the delta").await;
    assert_eq!(stale(&world, "environments").await, 1);
}

/// A listing lacks much: all is held, and a decision of the Owner ends it.
async fn held(fault: Fault, reason: &str, missing: u64) {
    let world = World::start(1, 30, 1).await;
    let mirror = world.listed(1, "environments", "").await;
    // Asked one by one they are gone, too: the platform is wrong all over.
    let gone = FaultRule::new(Fault::Result { code: 11, error: None }).method("getenvinfo");
    world.simulator().faults().set(on_listings(&fault));
    world.simulator().faults().add(gone);
    let run = world.sync(1, "environments", "full").await;
    assert_eq!(run.kind, "sync.completed", "{run:?}");
    let is_hold = |frame: &crate::support::stream::Frame| frame.kind == "removals.held";
    let told = world.stream(1).wait("removals.held", is_hold).await;
    assert_eq!(told.data()["count"], missing, "{told:?}");
    assert_eq!(told.data()["of"], 30);
    assert_eq!(told.data()["reason"], reason);
    for table in ["environments", "nodes"] {
        assert_eq!(stale(&world, table).await, 0, "{table}");
    }
    assert_eq!(world.listed(1, "environments", "").await, mirror, "all are served");

    let plan = world.api("/teams/1/vz-sync/removals").await;
    let hold = &plan["items"][0];
    assert_eq!(hold["state"], "held", "{plan}");
    assert_eq!(hold["items"].as_array().map(Vec::len), Some(missing as usize));
    let id = hold["id"].as_i64().expect("an id");
    assert_eq!(told.data()["hold_id"], id);

    let path = format!("/teams/1/vz-sync/removals/{id}/release");
    let from = world.stream(1).frames().len();
    let released = world.owner("POST", &path, Some(&json!({}))).await;
    assert_eq!((released.status, &released.json["state"]), (200, &json!("released")));
    let next = |frame: &crate::support::stream::Frame| {
        frame.kind == "sync.completed" && frame.data()["counts"]["stale"] != 0
    };
    world.stream(1).wait_after(from, "the run that removes them", next).await;
    assert_eq!(stale(&world, "environments").await, missing as i64);
    assert_eq!(world.listed(1, "environments", "").await.len() as u64, 30 - missing);
    let open = world.api("/teams/1/vz-sync/removals").await;
    assert_eq!(open["items"], Value::Array(Vec::new()));
    assert_eq!(world.owner("POST", &path, Some(&json!({}))).await.status, 409, "decided once");

    world.simulator().faults().clear();
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "when the platform is well again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_listing_is_held_until_released() {
    held(Fault::EmptyList, "empty_listing", 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_lost_60_percent_is_held_until_released() {
    held(Fault::DropFraction { fraction: 0.6 }, "over_percentage", 18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_listing_removes_and_verifies_nothing_and_is_asked_for_again() {
    let world = World::start(1, 30, 2).await;
    let verified = "select (extract(epoch from verified_at) * 1000000)::bigint
                    from vz_sync_data_types where team_id = 1 and data_type = 'environments'";
    let before = world.number(verified, &[]).await;
    world.simulator().world().step(10);
    world.simulator().world().settle();
    let cut = Fault::Truncate { bytes: 20_000, clean: true };
    // More than once: the wait between two tries is random and may be short.
    world.simulator().faults().set(vec![FaultRule::new(cut).method(FULL_LISTING).times(2)]);
    let from = world.stream(1).frames().len();
    let run = world.sync(1, "environments", "full").await;
    assert!(run.kind == "sync.completed" && run.data()["partial"].is_string(), "{run:?}");
    assert!(run.data()["verified_at"].is_null(), "{run:?}");
    let is_whole = |frame: &crate::support::stream::Frame| {
        frame.kind == "sync.completed" && frame.data()["verified_at"].is_string()
    };
    let whole = world.stream(1).wait_after(from, "the run after it", is_whole).await;
    assert!(whole.data()["job_id"] != run.data()["job_id"]);
    assert!(world.number(verified, &[]).await > before);
    world.assert_mirrored(1, "after the run that retried").await;
    let page = world.api("/teams/1/environments?limit=1").await;
    assert_eq!(page["freshness"]["freshness"], "current", "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_the_cut_is_kept() {
    let world = World::start(1, 30, 2).await;
    let verified = "select max(extract(epoch from verified_at) * 1000000)::bigint
                    from vz_sync_data_types where team_id = 1 and scope = 'environments'";
    let before = world.number(verified, &[]).await;
    let order = vz_sync::simulator::Mutation {
        count: Some(30),
        kinds: vec![vz_sync::simulator::Change::Rename],
        ..Default::default()
    };
    world.simulator().world().mutate(world.uid(1), &order).expect("all are renamed");
    let cut = Fault::Truncate { bytes: 40_000, clean: true };
    world.simulator().faults().set(vec![FaultRule::new(cut).method(FULL_LISTING)]);
    let run = world.sync(1, "environments", "full").await;
    assert!(run.data()["partial"].is_string(), "{run:?}");
    let renamed = "select count(*) from environments
                   where team_id = 1 and display_name like 'Renamed %'";
    let kept = world.number(renamed, &[]).await;
    assert!(0 < kept && kept < 30, "the good ones: {kept}");
    assert_eq!(stale(&world, "environments").await, 0);
    let missing = "select count(*) from environments where missing_since is not null";
    assert_eq!(world.number(missing, &[]).await, 0);
    assert_eq!(world.number(verified, &[]).await, before, "verified_at does not move");
}
