//! Listings that leave something out.

use std::time::Duration;

use vz_sync::simulator::{Fault, FaultRule, SimulatorOptions};

use crate::support::service::World;
use crate::support::trouble::{LISTINGS, Meets, Trouble};

const LACKING: Fault = Fault::DropFraction { fraction: 0.6 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_of_what_answers_when_asked_for() {
    Trouble::of(&Fault::EmptyList).meets(Meets::Doubt("invalid contradicted_by_probe")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lacks_60_percent_of_what_answers_when_asked_for() {
    Trouble::of(&LACKING).meets(Meets::Doubt("invalid contradicted_by_probe")).await;
}

/// Nobody answers for what is missing, either. Past the guard all of it is held, whatever else the
/// platform says of it, and served on.
async fn held(lacking: &Fault, missing: usize) {
    let mut rules = LISTINGS.map(|method| FaultRule::new(lacking.clone()).method(method)).to_vec();
    rules.push(FaultRule::new(Fault::Result { code: 11, error: None }).method("getenvinfo"));
    let scene = Trouble::by(rules).among(30).strikes(Meets::Success).await;
    let served = scene.world.served().await;
    let doubtful = served.iter().filter(|(_, row)| row.doubtful).count();
    assert_eq!(doubtful, missing, "what waits for a decision is served in doubt");
    assert!(served.iter().all(|(id, row)| row.version == scene.before[id].version));
    assert_eq!(served.len(), scene.before.len());
    let plan = scene.world.api("/teams/1/vz-sync/removals").await;
    assert_eq!(plan["items"][0]["items"].as_array().map(Vec::len), Some(missing));
    // Old answers say that it is the decision that they wait for.
    scene.world.age(Duration::from_hours(1)).await;
    scene.world.says("environments", Some("removals_held")).await;
    let world = scene.recovers().await;
    let open = world.api("/teams/1/vz-sync/removals").await;
    assert_eq!(open["items"].as_array().map(Vec::len), Some(0), "it came back by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list() {
    held(&Fault::EmptyList, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lacks_60_percent() {
    held(&LACKING, 18).await;
}

/// Below the guard each row needs its own evidence: one listing makes it missing, not gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lacks_a_few_of_whom_nothing_can_be_learnt() {
    let mut rules = LISTINGS
        .map(|method| FaultRule::new(Fault::DropFraction { fraction: 0.1 }).method(method))
        .to_vec();
    rules.push(FaultRule::new(Fault::Html).method("getenvinfo"));
    let scene = Trouble::by(rules).among(30).strikes(Meets::Success).await;
    let served = scene.world.served().await;
    assert_eq!(served.iter().filter(|(_, row)| row.doubtful).count(), 3);
    assert_eq!(served.len(), scene.before.len(), "they are served");
    let world = scene.recovers().await;
    assert!(world.served().await.values().all(|row| !row.doubtful));
}

/// The history comes in pages, and one of them fails: nothing of it is believed to be all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_page_of_a_set_fails() {
    let world = World::with(SimulatorOptions::uniform(1, 12, 2), &[]).await;
    let platform = world.simulator().world();
    platform.step(600);
    platform.settle();
    world.synced(1, "job_logs", "full").await;
    let before = world.listed(1, "job-logs", "").await;
    assert!(before.len() > 500, "control: more than a page: {}", before.len());
    platform.step(30);
    platform.settle();
    let page = FaultRule::new(Fault::Result { code: 17, error: None }).method("searchactions");
    world.simulator().faults().set(vec![page.from_row(1)]);
    let fence = world.fence("job_logs").await;
    world.pass(Duration::from_hours(1)).await;
    world.ran("job_logs", fence).await;
    let fired = world.simulator().faults().report()[0].fired;
    assert!(fired > 0, "control: a later page failed");
    let block = world.api("/teams/1/job-logs?limit=1").await["freshness"].clone();
    assert_eq!(block["freshness"], "stale", "{block}");
    assert_eq!(world.listed(1, "job-logs", "").await, before, "good rows stay");
    world.simulator().faults().clear();
    let from = world.stream(1).frames().len();
    world.pass(Duration::from_hours(1)).await;
    let whole = |frame: &crate::support::stream::Frame| {
        frame.kind == "sync.completed" && frame.data()["scope"] == "job_logs"
    };
    world.stream(1).wait_after(from, "a run with every page", whole).await;
    let after = world.listed(1, "job-logs", "").await;
    assert!(after.len() >= before.len() + 30 && before.iter().all(|id| after.contains(id)));
}
