//! Who goes first when everybody wants to.

use vz_sync_actors::domain::{Class, ScopeKey, TeamId};
use vz_sync_actors::ports::store::Requested;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::sync_request;
use vz_sync_actors::testkit::platform::{Call, Method};

use crate::common::*;

/// Listings in the order in which they were asked for.
fn listings(universe: &Universe) -> Vec<Call> {
    let calls = universe.platform.calls();
    calls.into_iter().filter(|call| call.method == Method::Environments).collect()
}

#[tokio::test(start_paused = true)]
async fn a_person_overtakes_a_backlog_that_goes_on() {
    let mut universe = Universe::new(2);
    for id in 1..=40 {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = secs(10));
    }
    universe.start_replica().await;
    // The whole backlog of first loads is queued, and some of it runs.
    pass(secs(15)).await;
    let asked = tokio::time::Instant::now();
    let patient = TeamId(40);
    let job = universe.trigger(patient, Environments, Class::Manual).await;
    universe.ended(patient, job).await;
    let took = asked.elapsed();
    // One permit is kept for people: at worst the run before it ends first.
    assert!(took <= secs(22), "{took:?}");
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn people_without_end_do_not_starve_the_rest() {
    let mut universe = Universe::new(2);
    let eager: Vec<TeamId> = {
        let mut eager = Vec::new();
        for id in 1..=10 {
            eager.push(universe.team(id, 1, 1).await);
        }
        eager
    };
    universe.start_replica().await;
    universe.settle().await;
    for team in &eager {
        universe.platform.with_world(*team, |world| world.latency = secs(1));
    }
    // First loads of new teams against people who never stop asking.
    for id in 11..=20 {
        universe.team(id, 1, 1).await;
    }
    universe.handle().nudge();
    let began = tokio::time::Instant::now();
    let loaded =
        || (11..=20).all(|id| universe.scope(TeamId(id), Environments).last_success_at.is_some());
    while !loaded() {
        assert!(began.elapsed() < secs(600), "the first loads starve");
        for team in &eager {
            for scope in [Environments, JobLogs] {
                let request = sync_request(ScopeKey::new(*team, scope), Class::Manual);
                assert!(matches!(universe.request(&request).await, Requested::Accepted(_)));
            }
        }
        pass(secs(1)).await;
    }
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_team_runs_two_at_once_while_others_wait() {
    let mut universe = Universe::new(2);
    for id in 1..=2 {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = secs(10));
    }
    universe.start_replica().await;
    let mut most = 0;
    for _ in 0..300 {
        pass(std::time::Duration::from_millis(100)).await;
        let running = |team: i64| {
            let of_team = |scope: &&vz_sync_actors::ports::reads::ScopeStatus| {
                scope.key.team == TeamId(team) && scope.running.is_some()
            };
            universe.scopes().iter().filter(of_team).count()
        };
        let waits = |team: i64| {
            let scopes = universe.scopes();
            scopes.iter().any(|scope| scope.key.team == TeamId(team) && scope.queued.is_some())
        };
        for (team, other) in [(1, 2), (2, 1)] {
            if waits(other) && running(other) < 2 {
                most = most.max(running(team));
            }
        }
    }
    assert!(most <= 2, "{most} of one team while the other waited");
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_there_are_permits() {
    let mut universe = Universe::new(2);
    for id in 1..=20 {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = secs(10));
    }
    universe.start_replica().await;
    universe.settle().await;
    let calls = listings(&universe);
    for window in calls.windows(6) {
        let took = window[5].at - window[0].at;
        assert!(took >= secs(10), "six listings within {took:?}");
    }
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_intake_that_falls_does_not_forget_what_runs() {
    let mut universe = Universe::new(2);
    for id in 1..=20 {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = secs(10));
    }
    universe.start_replica().await;
    let running = |universe: &Universe| {
        universe.scopes().iter().filter(|scope| scope.running.is_some()).count()
    };
    let intake = vz_sync_actors::kit::ActorId::root().child("job_intake");
    for _ in 0..3 {
        // A backlog of first loads: as many run as may, one permit is kept for people.
        universe.until("all permits are taken", || running(&universe) == 4).await;
        universe.handle().roster().kill(&intake).unwrap();
        for _ in 0..150 {
            pass(std::time::Duration::from_millis(100)).await;
            let now = running(&universe);
            assert!(now <= 4, "{now} runs at once after the intake fell");
        }
    }
    universe.settle().await;
    universe.shutdown().await;
}
