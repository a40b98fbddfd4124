//! What becomes of a job whose platform does not do as it should.

use std::time::Duration;

use vz_sync_actors::domain::{Class, EventBody, Failure, FailureClass, JobState};
use vz_sync_actors::ports::store::Resting;
use vz_sync_actors::testkit::platform::{Behaviour, Method, refused_key, unavailable};

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn a_failing_platform_is_asked_five_times_and_told_of_once() {
    let (mut universe, team) = one_team(2, 1).await;
    for _ in 0..5 {
        universe.platform.next(team, Method::Environments, Behaviour::Fails(unavailable()));
    }
    let before = universe.platform.count(team, Method::Environments);
    let job = universe.trigger(team, Environments, Class::Manual).await;
    let ended = universe.ended(team, job).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Failed, 5));
    let calls: Vec<_> = universe
        .platform
        .calls()
        .into_iter()
        .filter(|call| call.method == Method::Environments)
        .skip(before)
        .map(|call| call.at)
        .collect();
    assert_eq!(calls.len(), 5);
    for pair in calls.windows(2) {
        let wait = pair[1] - pair[0];
        // Our own backoff, and at most one poll of the scheduler.
        assert!(wait >= secs(1) && wait <= secs(5 * 60 + 31), "{wait:?}");
    }
    let told = events_of(&universe, team, job);
    assert_eq!(told.len(), 1, "{told:?}");
    let EventBody::Failed(failed) = &told[0].body else { panic!("{told:?}") };
    assert_eq!((failed.reason.as_str(), failed.state), ("http_503", JobState::Failed));
    // The state stays scheduled with backoff, and recovers by itself.
    assert_eq!(universe.scope(team, Environments).status, "retrying");
    universe.until("it works again", || universe.scope(team, Environments).failures == 0).await;
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn throttling_gives_the_attempt_back() {
    let (mut universe, team) = one_team(2, 1).await;
    for _ in 0..7 {
        let failure = Failure {
            retry_after: Some(secs(90)),
            ..Failure::new(FailureClass::Throttled, "http_429", "too many requests")
        };
        universe.platform.next(team, Method::Environments, Behaviour::Fails(failure));
    }
    let began = tokio::time::Instant::now();
    let ended = universe.sync(team, Environments).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1));
    assert!(began.elapsed() >= secs(7 * 90), "the platform's wish was obeyed");
    assert!(began.elapsed() <= secs(7 * (90 + 31)), "{:?}", began.elapsed());
    assert_eq!(events_of(&universe, team, ended.id).len(), 1);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_person_does_not_shorten_what_the_platform_asked_for() {
    let (mut universe, team) = one_team(2, 1).await;
    let failure = Failure {
        retry_after: Some(secs(600)),
        ..Failure::new(FailureClass::Throttled, "http_429", "too many requests")
    };
    universe.platform.next(team, Method::Environments, Behaviour::Fails(failure));
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("throttled", || universe.scope(team, Environments).status == "throttled").await;
    let began = tokio::time::Instant::now();
    let again = universe.trigger(team, Environments, Class::Manual).await;
    assert_eq!(again, job);
    universe.ended(team, job).await;
    assert!(began.elapsed() >= secs(590));
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_rests_the_team_until_the_probe_finds_it_works() {
    let (mut universe, team) = one_team(2, 1).await;
    let other = universe.team(2, 2, 1).await;
    universe.settle().await;
    // Both runs are in flight when the first is refused.
    universe.platform.with_world(team, |world| world.latency = secs(5));
    let refuse = |method| universe.platform.next(team, method, Behaviour::Fails(refused_key()));
    refuse(Method::Environments);
    refuse(Method::Actions);
    // The first probe, after an hour, finds the key refused still.
    refuse(Method::Account);
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.trigger(team, JobLogs, Class::Manual).await;
    let failed = |event: &vz_sync_actors::domain::Event| matches!(event.body, EventBody::Failed(_));
    universe.wait_for(team, failed).await;
    let refused_at = tokio::time::Instant::now();
    pass(secs(10)).await;
    let scope = universe.scope(team, Environments);
    assert!(matches!(scope.resting, Some(Resting::Auth(_))), "{:?}", scope.resting);
    assert_eq!(scope.status, "error");
    let told: Vec<_> = universe.events(team).into_iter().filter(failed).collect();
    assert_eq!(told.len(), 1, "one for the transition: {told:?}");
    assert_eq!(universe.job(team, job).state, JobState::Failed);
    let calls = universe.platform.count(team, Method::Environments);
    pass(Duration::from_secs(3000)).await;
    assert_eq!(universe.platform.count(team, Method::Environments), calls, "the team rests");
    assert!(universe.scope(other, Environments).resting.is_none());
    universe
        .until("it goes on by itself", || universe.scope(team, Environments).resting.is_none())
        .await;
    let rested = refused_at.elapsed();
    assert!(rested >= secs(2 * 3600) && rested <= secs(2 * 3600 + 180), "{rested:?}");
    assert_eq!(universe.platform.count(team, Method::Account), 2);
    universe.until("it ran", || universe.scope(team, Environments).failures == 0).await;
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_an_answer_holds_nobody_up_and_is_repeated_soon() {
    let (mut universe, silent) = one_team(2, 1).await;
    let broken = universe.team(2, 2, 1).await;
    let fine = universe.team(3, 2, 1).await;
    universe.settle().await;
    let all = [silent, broken, fine];
    for team in all {
        let refused = Behaviour::Fails(refused_key());
        universe.platform.next(team, Method::Environments, refused);
        universe.trigger(team, Environments, Class::Manual).await;
    }
    let rests = |team| universe.scope(team, Environments).resting.is_some();
    universe.until("all rest", || all.into_iter().all(rests)).await;
    let refused_at = tokio::time::Instant::now();
    universe.platform.next(silent, Method::Account, Behaviour::Hangs);
    universe.platform.next(broken, Method::Account, Behaviour::Fails(unavailable()));
    universe.until("the third goes on", || !rests(fine)).await;
    let took = refused_at.elapsed();
    assert!(took >= secs(3600) && took <= secs(3600 + 60), "{took:?}");
    assert!(rests(silent) && rests(broken));
    let roster = universe.handle().roster().clone();
    let prober = vz_sync_actors::kit::ActorId::root().child("key_prober");
    let view = roster.get(&prober).unwrap();
    assert_eq!(view.state, vz_sync_actors::kit::ActorState::Busy, "a probe still waits");
    assert_eq!(view.current_message.map(|message| message.name), None, "but not in a handler");
    universe.until("all go on", || !all.into_iter().any(rests)).await;
    let took = refused_at.elapsed();
    assert!(took <= secs(3600 + 5 * 60 + 150), "not an hour later: {took:?}");
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_is_asked_for_slowly() {
    let (mut universe, team) = one_team(2, 1).await;
    let failure = Failure::new(FailureClass::Invalid, "schema", "not a listing");
    universe.platform.next(team, Method::Environments, Behaviour::Fails(failure));
    let ended = universe.sync(team, Environments).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Failed, 1));
    assert_eq!(events_of(&universe, team, ended.id).len(), 1);
    let wait = universe.scope(team, Environments).not_before.unwrap() - universe.wall();
    assert!(wait > Duration::from_secs(3590), "{wait}");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_is_stopped_and_tried_again() {
    let (mut universe, team) = one_team(2, 1).await;
    universe.platform.next(team, Method::Environments, Behaviour::Hangs);
    let began = tokio::time::Instant::now();
    let ended = universe.sync(team, Environments).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 2));
    let took = began.elapsed();
    assert!(took >= secs(150) && took <= secs(150 + 10 + 31), "{took:?}");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_client_restarts_its_actor_and_nobody_else() {
    let (mut universe, team) = one_team(2, 1).await;
    let other = universe.team(2, 2, 1).await;
    universe.settle().await;
    universe.platform.with_world(other, |world| world.latency = secs(5));
    universe.platform.next(team, Method::Environments, Behaviour::Panics);
    universe.platform.next(team, Method::Environments, Behaviour::Panics);
    let theirs = universe.trigger(other, Environments, Class::Manual).await;
    let ended = universe.sync(team, Environments).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 3), "a crash counts too");
    let of = |team| {
        vz_sync_actors::kit::ActorId::root()
            .child("team_pool")
            .child(vz_sync_actors::domain::ScopeKey::new(team, Environments))
    };
    let roster = universe.handle().roster().clone();
    let view = roster.get(&of(team)).unwrap();
    assert_eq!(view.restarts, 2);
    assert!(view.last_exit.unwrap().message.contains("panicked"));
    let theirs = universe.ended(other, theirs).await;
    assert_eq!((theirs.state, theirs.attempt), (JobState::Succeeded, 1));
    assert_eq!(roster.get(&of(other)).unwrap().restarts, 0);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_always_panics_ends_in_a_dead_job_with_one_event() {
    let (mut universe, team) = one_team(2, 1).await;
    for _ in 0..5 {
        universe.platform.next(team, Method::Environments, Behaviour::Panics);
    }
    let ended = universe.sync(team, Environments).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Dead, 5));
    assert_eq!(events_of(&universe, team, ended.id).len(), 1);
    assert!(
        universe.handle().roster().tree().actors[0].actor.state
            != vz_sync_actors::kit::ActorState::Failed
    );
    universe.until("it works again", || universe.scope(team, Environments).failures == 0).await;
    universe.settle().await;
    universe.shutdown().await;
}
