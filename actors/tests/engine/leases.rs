//! One run at a time, whatever happens to the one that has the lease.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use vz_sync_actors::domain::{Class, EventBody, JobState, Mode};
use vz_sync_actors::ports::signals::{Signal, Signals as _};
use vz_sync_actors::ports::store::{Requested, Store as _};
use vz_sync_actors::ports::teams::Teams as _;
use vz_sync_actors::subscription::Subscription;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{Environment, environments_of, replica_id, sync_request};
use vz_sync_actors::testkit::platform::{Behaviour, Method};

use crate::common::*;

/// Two replicas and one team that is up to date, on a slow platform.
async fn two_replicas(latency: Duration) -> (Universe, vz_sync_actors::domain::TeamId) {
    let mut universe = Universe::new(3);
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.start_replica().await;
    universe.settle().await;
    // A new replica sends nothing until the others have counted it.
    pass(secs(20)).await;
    universe.platform.with_world(team, |world| world.latency = latency);
    (universe, team)
}

/// The number of the replica that runs the scope.
fn runs_on(universe: &Universe, team: vz_sync_actors::domain::TeamId) -> usize {
    let lease = universe.scope(team, Environments).lease.expect("a run is under way");
    usize::from(lease.owner != replica_id(1))
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_stops_hands_its_run_back_and_another_finishes_it() {
    let (mut universe, team) = two_replicas(secs(60)).await;
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    pass(secs(5)).await;
    let first = runs_on(&universe, team);
    let began = Instant::now();
    universe.stop(first).await;
    assert!(began.elapsed() < secs(5), "stopping took {:?}", began.elapsed());
    universe.until("it runs again", || universe.scope(team, Environments).lease.is_some()).await;
    assert_eq!(runs_on(&universe, team), 1 - first);
    assert!(began.elapsed() < secs(10), "handed over after {:?}", began.elapsed());
    let ended = universe.ended(team, job).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1), "nobody failed");
    assert_eq!(events_of(&universe, team, job).len(), 1);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_replicas_lease_is_taken_over_within_a_heartbeat_of_its_death() {
    let (mut universe, team) = two_replicas(secs(60)).await;
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    pass(secs(5)).await;
    let first = runs_on(&universe, team);
    let fence = universe.scope(team, Environments).fence;
    universe.crash(first);
    let died = Instant::now();
    let taken = || {
        let scope = universe.scope(team, Environments);
        scope.fence > fence && scope.lease.is_some()
    };
    universe.until("another run has the lease", taken).await;
    let after = died.elapsed();
    // The heartbeat is found old at the first look after 15 s.
    assert!(after >= secs(10) && after <= secs(15 + 5 + 1), "taken over after {after:?}");
    let ended = universe.ended(team, job).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 2), "a crash counts");
    assert_eq!(events_of(&universe, team, job).len(), 1);
    universe.shutdown().await;
}

/// Cuts a run off the store while it waits for the platform, lets another
/// replica finish the job with news, and mends the line before the first run
/// has its old answer. Answers whether the old answer overwrote the news.
async fn overtaken(mut universe: Universe) -> bool {
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.start_replica().await;
    universe.settle().await;
    pass(secs(20)).await;
    universe.platform.with_world(team, |world| {
        world.latency = secs(100);
        world.environments[0].status = 3;
    });
    universe.platform.next(team, Method::Environments, Behaviour::AsAsked);
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    let began = Instant::now();
    let slow = runs_on(&universe, team);
    pass(secs(1)).await;
    universe.line(slow).cut();
    universe.platform.with_world(team, |world| {
        world.latency = secs(1);
        world.environments[0].status = 2;
    });
    let ended = universe.ended(team, job).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 2));
    // Between two tries to renew, so that only the guard can tell.
    tokio::time::sleep_until(began + secs(97)).await;
    universe.line(slow).mend();
    pass(secs(60)).await;
    let id = Environment::new(1, 1).external_id();
    let row = row(&universe, team, vz_sync_actors::domain::DataType::Environments, &id).await;
    let news = row.unwrap().payload.contains("\"status\":2");
    universe.shutdown().await;
    !news
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_run_commits_nothing() {
    assert!(!overtaken(Universe::new(3)).await);
}

#[tokio::test(start_paused = true)]
async fn control_without_the_guard_an_overtaken_run_does_overwrite() {
    let store = |store: vz_sync_actors::embedded::MemoryStore| store.without_guard();
    assert!(overtaken(Universe::with_store(3, store)).await);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_renew_stops_itself_before_its_lease_ends() {
    let mut universe = Universe::new(3).tuned(|settings| settings.run_timeout = secs(3600));
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    universe.platform.with_world(team, |world| world.latency = secs(1000));
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    let until = universe.scope(team, Environments).lease.unwrap().until;
    universe.line(0).cut();
    let actor = vz_sync_actors::kit::ActorId::root().child("team_pool").child(environments_of(1));
    let roster = universe.handle().roster().clone();
    let stopped = || roster.get(&actor).unwrap().details["last_outcome"] == "overtaken";
    universe.until("it stopped itself", stopped).await;
    let left = until - universe.wall();
    assert!(left >= secs(14) && left <= secs(16), "{left} before the lease ended");
    universe.line(0).mend();
    universe.platform.with_world(team, |world| world.latency = secs(1));
    assert_eq!(universe.ended(team, job).await.state, JobState::Succeeded);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_run_keeps_its_lease() {
    let mut universe = Universe::new(3).tuned(|settings| settings.run_timeout = secs(3600));
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    universe.platform.with_world(team, |world| world.latency = secs(1000));
    let ended = universe.sync(team, Environments).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1));
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_operators_cancel_stops_the_run_and_is_told_once() {
    let (mut universe, team) = two_replicas(secs(60)).await;
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    let (began, runs_on) = (Instant::now(), runs_on(&universe, team));
    let cancel =
        |replica, team| universe.replica(replica).cancel_run(environments_of(team), "alice");
    assert_eq!(cancel(1 - runs_on, 1).await, Ok(false), "it runs on the other replica");
    assert_eq!(cancel(runs_on, 404).await, Ok(false), "nobody knows the team");
    assert_eq!(cancel(runs_on, 1).await, Ok(true));
    let ended = universe.ended(team, job).await;
    assert!(began.elapsed() < secs(1));
    assert_eq!(ended.state, JobState::Cancelled);
    let told = events_of(&universe, team, job);
    assert!(
        matches!(&told[..], [e] if matches!(&e.body, EventBody::Failed(f) if f.reason == "cancelled"))
    );
    assert_eq!(cancel(runs_on, 1).await, Ok(false), "there is no run any more");
    pass(secs(300)).await;
    assert!(universe.scope(team, Environments).running.is_none(), "it does not run at once again");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_in_the_store_stops_at_its_next_renewal() {
    let mut universe = Universe::new(3).tuned(|settings| settings.run_timeout = secs(3600));
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    universe.platform.with_world(team, |world| world.latency = secs(1000));
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    assert!(universe.store.cancel(team, job, "alice").await.unwrap());
    let actor = vz_sync_actors::kit::ActorId::root().child("team_pool").child(environments_of(1));
    let roster = universe.handle().roster().clone();
    let began = Instant::now();
    let stopped = || roster.get(&actor).unwrap().details["last_outcome"] == "overtaken";
    universe.until("it stopped", stopped).await;
    assert!(began.elapsed() <= secs(61), "{:?}", began.elapsed());
    assert_eq!(universe.job(team, job).state, JobState::Cancelled);
    assert_eq!(events_of(&universe, team, job).len(), 1);
    universe.shutdown().await;
}

/// Reads a subscription to its end.
async fn closed(subscription: &mut Subscription) {
    loop {
        match subscription.live.recv().await {
            Ok(_) => {}
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => panic!("it was read at once"),
        }
    }
}

/// A team with a run on its way that takes long, the actor that runs it, and
/// whether that run has ended as overtaken.
async fn long_run() -> (Universe, vz_sync_actors::domain::TeamId, impl Fn() -> bool) {
    let mut universe = Universe::new(3).tuned(|settings| settings.run_timeout = secs(3600));
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    universe.platform.with_world(team, |world| world.latency = secs(1000));
    universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    let actor = vz_sync_actors::kit::ActorId::root().child("team_pool").child(environments_of(1));
    let roster = universe.handle().roster().clone();
    let stopped = move || roster.get(&actor).unwrap().details["last_outcome"] == "overtaken";
    (universe, team, stopped)
}

#[tokio::test(start_paused = true)]
async fn a_removed_teams_run_stops_and_its_subscriptions_end_at_once() {
    let (mut universe, team, stopped) = long_run().await;
    let other = universe.team(2, 1, 1).await;
    let mut subscription = universe.handle().subscribe(team).await.unwrap();
    let mut others = universe.handle().subscribe(other).await.unwrap();
    let began = Instant::now();
    assert!(universe.store.remove(team).await.unwrap());
    universe.signals.send(Signal::RunsChanged(team));
    universe.until("it stopped", stopped).await;
    closed(&mut subscription).await;
    assert!(began.elapsed() < secs(1), "{:?}", began.elapsed());
    assert!(universe.handle().subscribe(team).await.is_err(), "there is nothing to wait for");
    assert!(others.live.recv().await.is_ok(), "another team is not disturbed");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_signal_is_lost_is_found_by_looking() {
    let (mut universe, team, stopped) = long_run().await;
    let mut subscription = universe.handle().subscribe(team).await.unwrap();
    let began = Instant::now();
    assert!(universe.store.remove(team).await.unwrap());
    closed(&mut subscription).await;
    assert!(began.elapsed() <= secs(2), "at the next poll: {:?}", began.elapsed());
    assert!(!stopped(), "control: only a signal is that quick");
    universe.until("it stopped", &stopped).await;
    assert!(began.elapsed() <= secs(61), "at its next renewal: {:?}", began.elapsed());
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lease_is_doubted_but_sound_goes_on() {
    let (mut universe, team, _) = long_run().await;
    let mut subscription = universe.handle().subscribe(team).await.unwrap();
    let job = universe.scope(team, Environments).running.unwrap().id;
    universe.signals.send(Signal::RunsChanged(team));
    let ended = universe.ended(team, job).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1));
    let told = loop {
        let told = subscription.live.recv().await.expect("it is still open");
        if told.event.no.is_some() {
            break told.event.clone();
        }
    };
    assert_eq!(told, events_of(&universe, team, job)[0]);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_trigger_during_a_run_leads_to_exactly_one_more() {
    let (mut universe, team) = two_replicas(secs(20)).await;
    let first = universe.trigger(team, Environments, Class::Manual).await;
    let asked = universe.platform.count(team, Method::Environments);
    universe.until("it runs", || universe.scope(team, Environments).lease.is_some()).await;
    pass(secs(5)).await;
    let mut more = Vec::new();
    for _ in 0..5 {
        more.push(universe.trigger(team, Environments, Class::Manual).await);
    }
    more.dedup();
    assert_eq!(more.len(), 1, "coalesced: {more:?}");
    assert_ne!(more[0], first, "the run in flight may have asked before");
    let second = universe.ended(team, more[0]).await;
    assert_eq!((second.state, second.mode), (JobState::Succeeded, Some(Mode::Full)));
    universe.settle().await;
    pass(secs(60)).await;
    assert_eq!(universe.platform.count(team, Method::Environments), asked + 2);
    assert_eq!(events_of(&universe, team, first).len(), 1);
    assert_eq!(events_of(&universe, team, more[0]).len(), 1);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_call_is_answered_like_the_first() {
    let (mut universe, team) = one_team(5, 1).await;
    let mut request = sync_request(environments_of(1), Class::Manual);
    request.idempotency =
        Some(vz_sync_actors::ports::store::Idempotency { key: "k".to_owned(), body_hash: [1; 32] });
    let first = universe.request(&request).await;
    let Requested::Accepted(jobs) = &first else { panic!("{first:?}") };
    universe.ended(team, jobs[0].job_id).await;
    assert_eq!(universe.request(&request).await, first, "although that job has ended");
    pass(secs(60)).await;
    assert!(universe.scope(team, Environments).queued.is_none(), "and nothing was asked for");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_granted_to_a_run_that_is_gone_is_given_back() {
    let (mut universe, team) = one_team(5, 1).await;
    let actor = vz_sync_actors::kit::ActorId::root().child("team_pool").child(environments_of(1));
    let roster = universe.handle().roster().clone();
    universe.line(0).hold_leases();
    let job = universe.trigger(team, Environments, Class::Manual).await;
    let asks = || roster.get(&actor).is_some_and(|view| view.details["job"] == job.0);
    universe.until("it asks for the lease", asks).await;
    pass(secs(1)).await;
    roster.kill(&actor).unwrap();
    universe.until("it is gone", || roster.get(&actor).unwrap().last_exit.is_some()).await;
    // Only now does the call arrive, and nobody waits for its answer.
    let began = Instant::now();
    universe.line(0).let_leases_through();
    let ended = universe.ended(team, job).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 2), "the lost grant counts");
    let took = began.elapsed();
    assert!(took < secs(30), "{took:?}: nobody waited for the lease to run out");
    universe.shutdown().await;
}
