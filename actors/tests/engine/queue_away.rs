//! The due queue's server is away, or loses everything: what is due runs all
//! the same, once, in its order and under its cap.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use vz_sync_actors::domain::{Class, JobState, TeamId};
use vz_sync_actors::embedded::{EmbeddedDueQueue, EmbeddedLock};
use vz_sync_actors::kit::ActorId;
use vz_sync_actors::ports::due_queue::DueQueue as _;
use vz_sync_actors::ports::reads::Reads as _;
use vz_sync_actors::ports::store::Store as _;
use vz_sync_actors::testkit::Universe;

use crate::common::*;

/// Twice the permits of one replica.
const CAP: u64 = 10;
const TEAMS: i64 = 60;

/// Adds teams with three scopes each, whose first runs take a few seconds.
async fn many_teams(universe: &mut Universe) {
    for id in 1..=TEAMS {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = secs(1));
    }
}

/// What is published and not leased, the measure of the cap.
fn under_way(universe: &Universe) -> u64 {
    universe.store.published_unleased().now_or_never().unwrap().unwrap()
}

fn dispatcher(universe: &Universe, field: &str) -> serde_json::Value {
    let id = ActorId::root().child("dispatcher");
    universe.handle().roster().get(&id).unwrap().details[field].clone()
}

/// Every scope has one job, and it succeeded at the first attempt.
async fn each_ran_once(universe: &Universe) {
    for id in 1..=TEAMS {
        let jobs = universe.store.jobs(TeamId(id), None, None, 100).await.unwrap();
        let once = jobs.iter().all(|job| job.state == JobState::Succeeded && job.attempt == 1);
        assert!(jobs.len() == 3 && once, "{jobs:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_runs_at_once_without_the_queue() {
    let (mut universe, team) = one_team(5, 1).await;
    universe.line(0).cut_queue();
    let began = Instant::now();
    let job = universe.sync(team, Environments).await;
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
    // A state that was claimed and then lost comes again after a minute only.
    assert!(began.elapsed() <= secs(2), "{:?}", began.elapsed());
    assert_eq!(events_of(&universe, team, job.id).len(), 1);
    assert_eq!(dispatcher(&universe, "queue_away"), true);

    universe.line(0).mend();
    pass(secs(2)).await;
    assert_eq!(dispatcher(&universe, "queue_away"), false);
    assert_eq!(universe.sync(team, Environments).await.state, JobState::Succeeded);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_keeps_cap_and_order_without_the_queue() {
    let mut universe = Universe::new(4);
    universe.start_replica().await;
    universe.line(0).cut_queue();
    many_teams(&mut universe).await;
    universe.handle().nudge();
    let standby = |universe: &Universe| dispatcher(universe, "standby").as_u64().unwrap_or(0);
    universe.until("the backlog waits here", || standby(&universe) > 100).await;

    // The last in line, if a person had not asked.
    let job = universe.trigger(TeamId(TEAMS), JobLogs, Class::Manual).await;
    let ended = || universe.job(TeamId(TEAMS), job).state == JobState::Succeeded;
    universe.until("the person is served", ended).await;
    assert!(standby(&universe) > 50, "served before the backlog was gone");

    let (mut most, mut quiet) = (0, false);
    while !quiet {
        most = most.max(under_way(&universe));
        quiet = universe.scopes().iter().all(|scope| scope.last_success_at.is_some());
        pass(Duration::from_millis(50)).await;
    }
    assert!(most > 0 && most <= CAP, "{most} were published and not leased");
    universe.settle().await;
    each_ran_once(&universe).await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_comes_and_goes_loses_nothing() {
    let mut universe = Universe::new(5);
    universe.start_replica().await;
    many_teams(&mut universe).await;
    universe.handle().nudge();
    let done = |universe: &Universe| {
        let scopes = universe.scopes();
        scopes.iter().filter(|scope| scope.last_success_at.is_some()).count()
    };
    let began = Instant::now();
    for goal in (20..=180).step_by(20) {
        universe.line(0).cut_queue();
        universe.until("some ran without", || done(&universe) >= goal - 10).await;
        universe.line(0).mend();
        universe.until("some ran with it", || done(&universe) >= goal).await;
    }
    universe.settle().await;
    each_ran_once(&universe).await;
    // What was in flight when the line broke comes again after its lease, as
    // a duplicate that finds nothing to do; nothing waits for a re-dispatch.
    assert!(began.elapsed() <= secs(240), "{:?}", began.elapsed());
    pass(secs(60)).await;
    each_ran_once(&universe).await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_flushed_queue_is_full_again_within_90_seconds() {
    let queue = Arc::new(EmbeddedDueQueue::new());
    let mut universe = Universe::new(6).over(queue.clone(), Arc::new(EmbeddedLock::new()));
    universe.start_replica().await;
    many_teams(&mut universe).await;
    universe.handle().nudge();
    let waiting = || queue.depths().now_or_never().unwrap().unwrap().low;
    universe.until("the queue is full", || waiting() > 150).await;
    let lost = waiting();
    queue.flush();
    let flushed_at = Instant::now();
    universe.until("it is full again", || waiting() > lost / 2).await;
    assert!(flushed_at.elapsed() <= secs(90), "{:?}", flushed_at.elapsed());
    universe.settle().await;
    each_ran_once(&universe).await;
    universe.shutdown().await;
}
