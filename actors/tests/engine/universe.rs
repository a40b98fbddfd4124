//! The exam at the end of every universe can fail.

use vz_sync_actors::domain::Class;
use vz_sync_actors::testkit::Universe;

use crate::common::*;

#[tokio::test(start_paused = true)]
#[should_panic(expected = "replicas were not shut down")]
async fn a_replica_left_running_is_a_leftover() {
    let (universe, _) = one_team(1, 1).await;
    drop(universe);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "has a live lease")]
async fn a_run_of_a_dead_replica_is_a_leftover() {
    let (mut universe, team) = one_team(1, 1).await;
    universe.platform.with_world(team, |world| world.latency = secs(100));
    universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    universe.crash(0);
    pass(secs(10)).await;
    drop(universe);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_universe_is_not_examined() {
    let mut universe = Universe::new(1);
    universe.team(1, 1, 1).await;
    universe.start_replica().await;
    universe.abandon();
}
