//! A platform whose clock is wrong.

use time::OffsetDateTime;
use vz_sync::simulator::{AccountSummary, Change, Fault, FaultRule, Mutation};

use crate::support::service::World;

/// Sets the platform's clock.
fn set_clock(world: &World, seconds: i64) {
    world.simulator().faults().set(vec![FaultRule::new(Fault::ClockSkew { seconds })]);
}

/// Changes three nodes in ways that no outline shows.
fn change_nodes(world: &World) {
    let order = Mutation {
        count: Some(3),
        kinds: vec![Change::Cloudlets, Change::Redeploy],
        ..Mutation::default()
    };
    world.simulator().world().mutate(world.uid(1), &order).expect("they change");
}

async fn verified(world: &World, table: &str) -> OffsetDateTime {
    let query = "select verified_at from vz_sync_data_types where team_id = 1 and data_type = $1";
    world.sql(query, &[&table]).await[0].get(0)
}

/// Runs a delta after the nodes changed; whether it moved the nodes' time.
async fn delta_vouches_for_nodes(world: &World) -> bool {
    change_nodes(world);
    let before = (verified(world, "environments").await, verified(world, "nodes").await);
    let done = world.synced(1, "environments", "delta").await;
    assert_eq!(done.data()["mode"], "delta", "{done:?}");
    assert!(verified(world, "environments").await > before.0, "the outlines vouch for these");
    verified(world, "nodes").await > before.1
}

/// Ten minutes are five times the overlap: asked for by any other clock than
/// the platform's own, the history would not hold what happened since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_finds_what_happened_whatever_the_platforms_clock_says() {
    for seconds in [0, -600, 600] {
        let world = World::start(1, 30, 2).await;
        set_clock(&world, seconds);
        world.synced(1, "environments", "full").await;
        assert!(delta_vouches_for_nodes(&world).await, "{seconds} s");
        world.assert_mirrored(1, &format!("a clock that is {seconds} s ahead")).await;
        // And the one after that, from where this one left off.
        assert!(delta_vouches_for_nodes(&world).await, "{seconds} s, again");
        world.assert_mirrored(1, &format!("a clock that is {seconds} s ahead, again")).await;
    }
}

/// The control: a clock that is set back in between does hide what happened,
/// and then nothing is vouched for until the next full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_hides_actions_and_the_delta_says_so() {
    let world = World::start(1, 30, 2).await;
    world.synced(1, "environments", "full").await;
    set_clock(&world, -600);
    assert!(!delta_vouches_for_nodes(&world).await);
    let mirror = AccountSummary::hash_of(&world.mirror(1).await);
    let truth = world.simulator().world().summary(world.uid(1)).expect("an account").hash;
    assert_ne!(mirror, truth, "the history did not tell of the changes");
    world.synced(1, "environments", "full").await;
    world.assert_mirrored(1, "after a full").await;
    assert!(delta_vouches_for_nodes(&world).await, "from there on by the new clock");
    world.assert_mirrored(1, "after a delta").await;
}
