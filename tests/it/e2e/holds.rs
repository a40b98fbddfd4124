//! What is missing, from the first doubt to the archive and back.

use std::time::Duration;

use serde_json::{Value, json};
use vz_sync::simulator::{Fault, FaultRule};

use crate::support::service::World;
use crate::support::stream::Frame;
use crate::support::trouble::LISTINGS;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Listings lack a part, and who asks for it by name is told this.
fn lacking(world: &World, listing: &Fault, named: Fault) {
    let mut rules = LISTINGS.map(|method| FaultRule::new(listing.clone()).method(method)).to_vec();
    rules.push(FaultRule::new(named).method("getenvinfo"));
    world.simulator().faults().set(rules);
}

fn part(fraction: f64) -> Fault {
    Fault::DropFraction { fraction }
}

fn gone() -> Fault {
    Fault::Result { code: 11, error: None }
}

impl World {
    /// Lets so much time pass and waits for the scheduled full that is due by then.
    async fn hours_on(&self, by: Duration) {
        let fence = self.fence("environments").await;
        self.pass(by).await;
        self.ran("environments", fence).await;
        self.at_rest().await;
    }

    /// Environments that are served: all, and those of them that are in doubt.
    async fn serves(&self) -> (usize, usize) {
        let page = self.api("/teams/1/environments?limit=500").await;
        let items = page["items"].as_array().expect("items");
        (items.len(), items.iter().filter(|item| item["needs_validation"] == true).count())
    }

    async fn archived(&self) -> usize {
        self.listed(1, "archived-sites", "").await.len()
    }

    /// Reasons of environments that went.
    async fn reasons(&self) -> Vec<String> {
        let query = "select distinct stale_reason from environments where stale order by 1";
        self.sql(query, &[]).await.iter().map(|row| row.get(0)).collect()
    }

    /// Waiting removal sets: their ids and how many rows they hold.
    async fn held(&self) -> Vec<(i64, usize)> {
        let plan = self.api("/teams/1/vz-sync/removals").await;
        let sets = plan["items"].as_array().expect("items").iter();
        let set = |set: &Value| {
            let rows = set["items"].as_array().map_or(0, Vec::len);
            (set["id"].as_i64().expect("an id"), rows)
        };
        sets.map(set).collect()
    }

    fn told_of_sets(&self) -> usize {
        let held = |frame: &&Frame| frame.kind == "removals.held";
        self.stream(1).frames().iter().filter(held).count()
    }

    /// All that was in doubt or gone is back, as the same rows.
    async fn is_whole_again(&self, when: &str) {
        self.simulator().faults().clear();
        self.hours_on(HOUR).await;
        // Not what was told: events are kept for a week, and more than that may have passed.
        self.assert_same(1, when).await;
        assert_eq!((self.serves().await, self.archived().await), ((30, 0), 0), "{when}");
        let rows = "select count(*) from environments";
        assert_eq!(self.number(rows, &[]).await, 30, "{when}: the same rows");
        assert_eq!(self.held().await, [], "{when}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_listing_confirms_what_nobody_can_be_asked_about() {
    let world = World::start(1, 30, 1).await;
    lacking(&world, &part(0.1), Fault::Html);
    world.synced(1, "environments", "full").await;
    assert_eq!(world.serves().await, (30, 3), "missing once: served, in doubt");
    // A burst of refreshes is one opinion, however many there are.
    for _ in 0..3 {
        world.synced(1, "environments", "full").await;
    }
    assert_eq!(world.serves().await, (30, 3));
    // What takes no part as a listing does not count, either.
    world.simulator().faults().add(
        FaultRule::new(Fault::Truncate { bytes: 30_000, clean: true }).method(LISTINGS[0]).times(1),
    );
    world.hours_on(HOUR).await;
    assert_eq!(world.serves().await, (30, 3), "half a listing proves nothing");
    world.hours_on(HOUR).await;
    assert_eq!(world.serves().await, (27, 0), "missing twice");
    assert_eq!((world.reasons().await, world.archived().await), (vec!["missed_twice".into()], 3));
    world.is_whole_again("when they are listed again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_set_is_released_by_two_later_listings() {
    let world = World::start(1, 30, 1).await;
    lacking(&world, &Fault::EmptyList, gone());
    world.synced(1, "environments", "full").await;
    assert_eq!(world.held().await.len(), 1);
    for _ in 0..3 {
        world.synced(1, "environments", "full").await;
    }
    assert_eq!(world.serves().await, (30, 30), "a burst releases nothing");
    world.hours_on(HOUR).await;
    assert_eq!(world.serves().await, (30, 30), "one later listing agrees");
    // Another one of the same minute is the same opinion, as late as it is for the set.
    world.synced(1, "environments", "full").await;
    assert_eq!(world.serves().await, (30, 30), "two of a burst are one");
    world.hours_on(HOUR).await;
    assert_eq!((world.serves().await, world.archived().await), ((0, 0), 30));
    assert_eq!(world.reasons().await, ["hold_released"]);
    assert_eq!((world.held().await, world.told_of_sets()), (Vec::new(), 1));
    world.is_whole_again("when they are listed again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_set_is_served_for_a_week_and_then_held_anew() {
    let world = World::start(1, 30, 1).await;
    lacking(&world, &part(0.6), gone());
    world.synced(1, "environments", "full").await;
    let held = world.held().await;
    let [(id, 18)] = held[..] else { panic!("one set: {held:?}") };
    let path = format!("/teams/1/vz-sync/removals/{id}/reject");
    let rejected = world.owner("POST", &path, Some(&json!({}))).await;
    assert_eq!((rejected.status, &rejected.json["state"]), (200, &json!("rejected")));
    for wait in [HOUR, DAY * 3, DAY * 3] {
        world.hours_on(wait).await;
        assert_eq!((world.serves().await.0, world.held().await), (30, Vec::new()), "{wait:?} on");
    }
    assert_eq!(world.told_of_sets(), 1);
    world.hours_on(DAY).await;
    assert_eq!(world.serves().await.0, 30, "the week is over: held, not gone");
    let held = world.held().await;
    let [(again, 18)] = held[..] else { panic!("one set: {held:?}") };
    assert!(again != id, "a plan of its own");
    world.is_whole_again("when they are listed again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_grows_is_one_plan_and_waits_anew() {
    let world = World::start(1, 30, 1).await;
    lacking(&world, &part(0.6), gone());
    world.synced(1, "environments", "full").await;
    world.hours_on(HOUR).await;
    assert_eq!(world.held().await.len(), 1, "one listing agrees");
    lacking(&world, &Fault::EmptyList, gone());
    world.synced(1, "environments", "full").await;
    let held = world.held().await;
    assert!(matches!(held[..], [(_, 30)]), "the rest has joined: {held:?}");
    // The first agreement was about fewer rows: what joined has been missed once.
    for _ in 0..3 {
        world.synced(1, "environments", "full").await;
    }
    assert_eq!(world.serves().await, (30, 30));
    world.hours_on(HOUR).await;
    assert_eq!(world.serves().await, (30, 30));
    world.hours_on(HOUR).await;
    assert_eq!((world.serves().await, world.archived().await), ((0, 0), 30));
    world.is_whole_again("when they are listed again").await;
}

/// Accounts of few environments can lose the last one, each of them confirmed by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_teams_can_go_to_nothing() {
    for environments in [1, 20] {
        let world = World::start(1, environments, 2).await;
        let (platform, uid) = (world.simulator().world(), world.uid(1));
        for item in platform.summary(uid).expect("an account").items {
            platform.delete(uid, &item.name, false).expect("it goes");
        }
        let done = world.synced(1, "environments", "full").await;
        assert_eq!(done.data()["counts"]["stale"], environments * 3, "with their nodes: {done:?}");
        assert_eq!((world.serves().await, world.archived().await), ((0, 0), environments));
        assert_eq!(world.listed(1, "nodes", "").await.len(), 0);
        assert_eq!((world.reasons().await, world.held().await), (vec!["deleted".into()], vec![]));
        world.assert_mirrored(1, "with nothing left").await;
        // And begin anew.
        let created = platform.create(uid).expect("one more");
        world.hours_on(HOUR).await;
        assert_eq!(world.listed(1, "environments", "").await, [created.appid]);
    }
}
