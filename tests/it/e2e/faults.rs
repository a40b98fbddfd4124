//! A platform that is unwell, and a key that is refused, as jobs meet it. What the answers say
//! meanwhile is in `trouble`.

use std::time::Duration;

use serde_json::json;
use vz_sync::simulator::{AccountSummary, Change, Fault, FaultRule, Mutation, TokenState};

use crate::support::service::World;

const FULL_LISTING: &str = "getbasicenvsinfo";

/// One listing suffers; the job gets through all the same, with so many
/// attempts (throttled ones do not count) under so many leases.
async fn overcome(fault: Fault, attempts: i32, leases: i64) -> World {
    let world = World::start(1, 12, 2).await;
    world.simulator().world().step(5);
    world.simulator().world().settle();
    let name = format!("{fault:?}");
    world.simulator().faults().set(vec![FaultRule::new(fault).method(FULL_LISTING).times(1)]);
    let done = world.synced(1, "environments", "full").await;
    assert_eq!(world.simulator().faults().report()[0].fired, 1, "control: {name} happened");
    world.assert_mirrored(1, &name).await;
    let job = done.data()["job_id"].as_i64();
    let tried = world.sql("select attempt, state from vz_sync_jobs where id = $1", &[&job]).await;
    assert_eq!((tried[0].get(0), tried[0].get(1)), (attempts, "succeeded"), "{name}");
    let fence = "select fence from vz_sync_states where scope = 'environments'";
    assert_eq!(world.number(fence, &[]).await, 1 + leases, "{name}");
    let failures = "select failures::bigint from vz_sync_states where scope = 'environments'";
    assert_eq!(world.number(failures, &[]).await, 0, "{name}");
    let told = "select count(*) from sync_outbox where event_type = 'sync.failed'";
    assert_eq!(world.number(told, &[]).await, 0, "{name}: nobody is bothered");
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_is_waited_for_and_is_no_attempt() {
    let world = overcome(Fault::Status { code: 429, retry_after: Some(2) }, 1, 2).await;
    let asked = world.simulator().stats().recent();
    let mut listings = asked.iter().rev().filter(|request| request.method == FULL_LISTING);
    let (last, throttled) = (listings.next().expect("two"), listings.next().expect("two"));
    let waited = last.at - throttled.at;
    assert!(waited >= Duration::from_secs(2), "Retry-After is obeyed: {waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_502_is_tried_again() {
    overcome(Fault::Status { code: 502, retry_after: None }, 2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_of_5_fails_at_once_and_only_once() {
    let world = World::start(1, 5, 1).await;
    let fault = Fault::Result { code: 5, error: None };
    world.simulator().faults().set(vec![FaultRule::new(fault).method(FULL_LISTING)]);
    let failed = world.sync(1, "environments", "full").await;
    assert_eq!(failed.kind, "sync.failed", "{failed:?}");
    let status = world.api("/teams/1/vz-sync").await;
    let scopes = status["scopes"].as_array().expect("scopes");
    let scope = scopes.iter().find(|scope| scope["scope"] == "environments").expect("it is there");
    assert_eq!(scope["status"], "error", "{scope}");
    assert_eq!(world.listed(1, "environments", "").await.len(), 5, "the mirror is served");
    world.simulator().faults().clear();
    world.synced(1, "environments", "full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_key_rests_the_team_until_a_new_one_comes() {
    let world = World::start(2, 8, 1).await;
    let uid = world.uid(1);
    let platform = world.simulator().world();
    platform.set_token_state(uid, &TokenState::Expired).expect("an account");
    let failed = world.sync(1, "environments", "full").await;
    assert_eq!(failed.kind, "sync.failed", "{failed:?}");
    assert_eq!(failed.data()["scope"], "environments");

    let refused = world.owner("POST", "/teams/1/vz-sync", Some(&json!({}))).await;
    assert_eq!(refused.status, 409, "{}", refused.json);
    let scope = &world.api("/teams/1/vz-sync").await["scopes"][0];
    assert_eq!(scope["status"], "error", "{scope}");
    assert!(scope["pending_reason"].is_string(), "{scope}");
    let page = world.api("/teams/1/environments?max_age=0s").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(8), "the mirror is served");

    // The other team goes on, and by its end anything of the first would be told.
    let asked = world.simulator().stats().requests(FULL_LISTING);
    world.synced(2, "environments", "full").await;
    assert_eq!(world.simulator().stats().requests(FULL_LISTING), asked + 1, "team 1 rests");
    let told = "select count(*) from sync_outbox where team_id = 1 and event_type = 'sync.failed'";
    assert_eq!(world.number(told, &[]).await, 1, "told once");
    let admitted = "select count(*) from vz_sync_states where team_id = 1 and admitted";
    assert_eq!(world.number(admitted, &[]).await, 0, "no scope of it is admitted");

    let wrong = json!({ "session_key": "not-a-key-of-anyone" });
    let answer = world.owner("PUT", "/teams/1/vz-credentials", Some(&wrong)).await;
    assert_eq!(answer.status, 422, "{}", answer.json);
    platform.replace_token(uid, "a-new-token").expect("an account");
    platform.step(6);
    platform.settle();
    let from = world.stream(1).frames().len();
    let key = json!({ "session_key": "a-new-token" });
    let answer = world.owner("PUT", "/teams/1/vz-credentials", Some(&key)).await;
    assert_eq!((answer.status, answer.json["owner_uid"].as_i64()), (200, Some(uid)));
    let is_back = |frame: &crate::support::stream::Frame| {
        frame.kind == "sync.completed" && frame.data()["scope"] == "environments"
    };
    world.stream(1).wait_after(from, "the run with the new key", is_back).await;
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "with the new key").await;
    assert_eq!(world.number(told, &[]).await, 1, "told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_goes_without_a_history_that_the_key_may_not_read() {
    let world = World::start(1, 20, 2).await;
    let no_history = ["searchactions", "getcurrentactions", "getuidactions", "getaction"];
    let rules = no_history.map(|method| FaultRule::new(Fault::NotAllowed).method(method));
    world.simulator().faults().set(rules.into());
    let order = Mutation {
        count: Some(4),
        kinds: vec![Change::Rename, Change::Power, Change::Cloudlets, Change::Redeploy],
        ..Mutation::default()
    };
    world.simulator().world().mutate(world.uid(1), &order).expect("it changes");
    let created = world.simulator().world().create(world.uid(1)).expect("one more");
    let done = world.sync(1, "environments", "delta").await;
    assert_eq!(done.kind, "sync.completed", "{done:?}");
    assert!(world.listed(1, "environments", "").await.contains(&created.appid));
    let page = world.api("/teams/1/environments?limit=1").await;
    assert_eq!(page["freshness"]["freshness"], "current", "{page}");
    // Without a history only a full can vouch for what a lazy listing hides.
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "after the full").await;
    let resting = "select count(*) from team_settings where auth_failed_at is not null";
    assert_eq!(world.number(resting, &[]).await, 0, "nobody is paused for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_account_replaces_the_mirror_only_when_asked_to() {
    let world = World::start(2, 8, 1).await;
    let other = world.simulator().world().token(world.uid(2)).expect("a token").to_owned();
    let path = "/teams/1/vz-credentials";
    let refused = world.owner("PUT", path, Some(&json!({ "session_key": other }))).await;
    assert_eq!(refused.status, 409, "{}", refused.json);
    let kind = refused.json["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("account-changed"), "{}", refused.json);
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "after a refused key").await;

    let before = world.listed(1, "environments", "").await;
    let body = json!({ "session_key": other, "replace_account": true });
    let taken = world.owner("PUT", path, Some(&body)).await;
    assert_eq!((taken.status, taken.json["owner_uid"].as_i64()), (200, Some(world.uid(2))));
    world.synced(1, "environments", "full").await;
    let truth = world.simulator().world().summary(world.uid(2)).expect("an account");
    assert_eq!(AccountSummary::hash_of(&world.mirror(1).await), truth.hash);
    let mut archived = world.listed(1, "archived-sites", "&reason=account_replaced").await;
    archived.sort_unstable();
    let mut before = before;
    before.sort_unstable();
    assert_eq!(archived, before, "the old mirror is in the archive");
    world.assert_mirrored(2, "the account's own team is not touched").await;
}
