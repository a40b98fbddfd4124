//! The event stream across restarts, and who may ask for what.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tokio::time::timeout;
use vz_sync::http::auth::Role;
use vz_sync::simulator::{Fault, FaultRule};

use crate::support::service::World;
use crate::support::stream::Frame;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_resumes_without_gap_or_repeat_across_a_restart() {
    let mut world = World::start(1, 6, 1).await;
    world.synced(1, "environments", "full").await;
    let seen = numbered(&world.stream(1).frames());
    let last = seen.last().expect("events").0;
    assert_eq!(ids(&seen), (1..=last).collect::<Vec<_>>(), "control: from the first on");

    // Not listened to: this one happens between the two streams.
    world.synced(1, "job_logs", "full").await;
    world.stop().await;
    world.start_again().await;
    let third = world.synced(1, "environments", "delta").await;
    let third = third.id.expect("it is numbered");
    assert_eq!(third, last + 2, "numbers go on over the restart");

    let resumed = world.subscribe(1, Some(last)).await;
    resumed.wait("the newest", |frame| frame.id == Some(third)).await;
    let live = world.synced(1, "job_logs", "full").await;
    resumed.wait("a live one", |frame| frame.id == live.id).await;
    let resumed = numbered(&resumed.frames());
    assert_eq!(ids(&resumed), [last + 1, last + 2, last + 3]);

    let whole = world.subscribe(1, Some(0)).await;
    whole.wait("the newest", |frame| frame.id == live.id).await;
    let whole = numbered(&whole.frames());
    let mut both = seen;
    both.extend(resumed);
    assert_eq!(whole, both, "the same events in the same words, before and after");

    let late = world.subscribe(1, Some(last + 1000)).await;
    late.wait("resync", |frame| frame.kind == "resync").await;
}

fn numbered(frames: &[Frame]) -> Vec<(i64, Frame)> {
    frames.iter().filter_map(|frame| Some((frame.id?, frame.clone()))).collect()
}

fn ids(frames: &[(i64, Frame)]) -> Vec<i64> {
    frames.iter().map(|(id, _)| *id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_service_ends_its_streams() {
    let mut world = World::start(1, 2, 1).await;
    let stream = world.subscribe(1, None).await;
    world.stop().await;
    assert_eq!(stream.ended().await, [], "nothing happened meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_a_team_ends_its_streams_and_its_run() {
    let world = World::start(2, 2, 1).await;
    let (stream, others) = (world.subscribe(1, None).await, world.subscribe(2, None).await);
    // Far longer than a test may take: only the removal can end this run.
    let hang = FaultRule::new(Fault::DelayMs { ms: 600_000 }).method("getbasicenvsinfo");
    world.simulator().faults().set(vec![hang]);
    world.trigger(1, "environments", "full").await;
    stream.wait("its run", |frame| frame.kind == "sync.started").await;
    let actor = "/actors/root/team_pool/1:environments";
    let before = world.admin("GET", actor, None).await.json["details"].clone();
    assert!(before["job"].is_i64(), "control: it runs: {before}");

    assert_eq!(world.admin("DELETE", "/teams/1", None).await.status, 204);
    let told = stream.ended().await;
    assert!(told.iter().all(|frame| frame.id.is_none()), "{told:?}");
    let stopped = async {
        loop {
            let details = world.admin("GET", actor, None).await.json["details"].clone();
            if details["job"].is_null() {
                return details;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let details = timeout(Duration::from_secs(20), stopped).await.expect("the run stops");
    assert_eq!(details["last_outcome"], "overtaken", "{details}");
    assert_eq!(world.owner("GET", "/teams/1/events", None).await.status, 404);

    world.simulator().faults().set(Vec::new());
    let other = world.synced(2, "environments", "full").await;
    others.wait("another team's event", |frame| frame.id == other.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_who_manage_the_team_may_trigger() {
    let world = World::start(2, 2, 1).await;
    let path = "/teams/1/vz-sync";
    let body = Some(json!({}));
    let trigger = async |token: Option<SecretString>| {
        world.call("POST", path, token.as_ref(), body.as_ref()).await.status
    };
    assert_eq!(trigger(Some(world.token(&[(1, Role::Developer)]))).await, 403);
    assert_eq!(trigger(Some(world.token(&[(2, Role::Owner)]))).await, 404, "a stranger");
    assert_eq!(trigger(None).await, 401);
    assert_eq!(trigger(Some("not.a.token".into())).await, 401);
    let manual = "select count(*) from vz_sync_jobs where class = 9";
    assert_eq!(world.number(manual, &[]).await, 0, "none of them led to a job");
    assert_eq!(trigger(Some(world.token(&[(1, Role::Manager)]))).await, 202);
    let developer = world.token(&[(1, Role::Developer)]);
    assert_eq!(world.call("GET", path, Some(&developer), None).await.status, 200);
    let events = world.call("GET", "/teams/1/events", None, None).await;
    assert_eq!(events.status, 401);
}
