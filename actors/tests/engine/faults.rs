//! Each actor of the tree in turn is killed, panics and fails in the middle
//! of a run: it comes back with backoff behind the same address, the job is
//! done in the end, and no other team notices. The same with messages waiting
//! in its mailbox, which are lost with it.

use std::time::Duration;

use tokio::time::Instant;
use vz_sync_actors::domain::{Class, EventBody, JobState, ScopeKey, TeamId};
use vz_sync_actors::kit::{ActorId, ActorState, ExitCause, Roster};
use vz_sync_actors::ports::signals::{Signal, Signals as _};
use vz_sync_actors::testkit::Universe;

use crate::common::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Panic,
    Error,
    /// An operator restarts it.
    Restart,
}

impl Fault {
    fn strike(self, roster: &Roster, id: &ActorId) {
        match self {
            Self::Kill => roster.kill(id),
            Self::Panic => roster.inject_panic(id),
            Self::Error => roster.inject_error(id),
            Self::Restart => roster.restart(id),
        }
        .unwrap();
    }

    const fn cause(self) -> ExitCause {
        match self {
            // One that is busy does not stop in time.
            Self::Kill | Self::Restart => ExitCause::Killed,
            Self::Panic => ExitCause::Panic,
            Self::Error => ExitCause::Error,
        }
    }
}

/// How long every answer of the platform takes here.
const LATENCY: Duration = secs(20);

fn root(child: &str) -> ActorId {
    ActorId::root().child(child)
}

fn its_actor(team: TeamId) -> ActorId {
    root("team_pool").child(ScopeKey::new(team, Environments))
}

/// Strikes an actor in the middle of two teams' runs.
async fn strike(name: &str, fault: Fault) {
    let mut universe = Universe::new(7);
    let team = universe.team(1, 5, 1).await;
    let other = universe.team(2, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    for team in [team, other] {
        universe.platform.with_world(team, |world| world.latency = LATENCY);
    }
    let id = if name == "team_sync" { its_actor(team) } else { root(name) };
    let what = format!("{id} after {fault:?}");
    let roster = universe.handle().roster().clone();
    let address = universe.handle().clone();

    let began = Instant::now();
    let ours = universe.trigger(team, Environments, Class::Manual).await;
    let theirs = universe.trigger(other, Environments, Class::Manual).await;
    let running = |team, job| universe.job(team, job).state == JobState::Running;
    universe.until("both run", || running(team, ours) && running(other, theirs)).await;
    pass(secs(5)).await;
    let before = roster.get(&id).unwrap();
    let fell_at = Instant::now();
    fault.strike(&roster, &id);
    universe.until("it fell", || roster.get(&id).unwrap().last_exit.is_some()).await;
    let fallen = roster.get(&id).unwrap();
    assert_eq!(fallen.last_exit.as_ref().unwrap().cause, fault.cause(), "{what}");

    // The pipeline goes on for a wish that is made while the actor is down.
    let meanwhile = universe.trigger(other, JobLogs, Class::Manual).await;
    let up = || {
        let view = roster.get(&id).unwrap();
        let state = matches!(view.state, ActorState::Idle | ActorState::Busy);
        view.restarts > before.restarts && state
    };
    // A team-sync actor comes back with the delivery; all others by themselves.
    universe.until("it is up again", up).await;
    let down = fell_at.elapsed();
    assert!(down >= Duration::from_millis(100) && down <= secs(1), "{what}: down for {down:?}");

    let (ours, theirs) = (universe.ended(team, ours).await, universe.ended(other, theirs).await);
    assert_eq!(ours.state, JobState::Succeeded, "{what}");
    assert_eq!(theirs.state, JobState::Succeeded, "{what}");
    let takes_runs_along = name == "team_pool";
    if !takes_runs_along {
        assert_eq!(theirs.attempt, 1, "{what}: the other team's run went on");
        let took = theirs.finished_at.unwrap() - theirs.started_at.unwrap();
        assert!(took <= LATENCY + secs(1), "{what}: {took}");
    }
    if !takes_runs_along && name != "team_sync" {
        assert_eq!(ours.attempt, 1, "{what}: the run does not depend on it");
    }
    universe.ended(other, meanwhile).await;
    assert!(began.elapsed() <= secs(120), "{what}: {:?}", began.elapsed());
    for team in [team, other] {
        let failed =
            universe.events(team).into_iter().any(|e| matches!(e.body, EventBody::Failed(_)));
        assert!(!failed, "{what}: nobody was told of a failure");
    }

    // The callers' address still works.
    let mut subscription = address.subscribe(team).await.unwrap();
    let again = universe.sync(team, Environments).await;
    assert_eq!((again.state, again.attempt), (JobState::Succeeded, 1), "{what}");
    loop {
        let told = tokio::time::timeout(secs(10), subscription.live.recv()).await;
        let told = told.expect("it is told soon").expect("and in full");
        if matches!(&told.event.body, EventBody::Completed(c) if c.job_id == again.id) {
            break;
        }
    }
    assert!(roster.get(&id).is_some(), "{what}: shown to operators");
    universe.settle().await;
    universe.shutdown().await;
}

macro_rules! each_actor {
    ($($actor:ident),+ $(,)?) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $actor() {
                for fault in [Fault::Kill, Fault::Panic, Fault::Error] {
                    strike(stringify!($actor), fault).await;
                }
            }
        )+
    };
}

each_actor!(
    pulse,
    event_broadcaster,
    team_pool,
    team_sync,
    janitor,
    key_prober,
    job_intake,
    dispatcher,
    scheduler,
);

#[tokio::test(start_paused = true)]
async fn an_actor_that_cannot_be_kept_up_fails_the_tree_and_no_run() {
    let mut universe = Universe::new(7);
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    universe.platform.with_world(team, |world| world.latency = LATENCY);
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.until("it runs", || universe.job(team, job).state == JobState::Running).await;
    let failed = universe.failed(0);
    let roster = universe.handle().roster().clone();
    let id = root("janitor");
    for _ in 0..=5 {
        let up = || roster.get(&id).unwrap().state == ActorState::Idle;
        universe.until("up", up).await;
        roster.kill(&id).unwrap();
        universe.until("down", || !up()).await;
    }
    let failure = tokio::time::timeout(secs(1), failed).await.expect("the tree has failed");
    assert_eq!(failure.actor, id);
    assert_eq!(universe.ended(team, job).await.attempt, 1, "the siblings run on");
    universe.shutdown().await;
}

/// Strikes an actor in whose mailbox messages wait. All of them are lost with
/// it, and still everything goes on: no poll comes within the test, so a nudge
/// that was thought to wait would silence the actor for good.
async fn strike_with_backlog(name: &str, fault: Fault) {
    let hour = secs(3600);
    let mut universe = Universe::new(7).tuned(move |settings| {
        settings.poll = hour;
        settings.dispatch_poll = hour;
        settings.outbox_poll = hour;
    });
    let team = universe.team(1, 5, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    let id = if name == "team_sync" { its_actor(team) } else { root(name) };
    let what = format!("{id} after {fault:?} with a backlog");
    let roster = universe.handle().roster().clone();
    // With a subscriber, so that the broadcaster has something to tail.
    let _subscription = universe.handle().subscribe(team).await.unwrap();
    // A child of the pool is there while it is needed.
    let up = |id: &ActorId| {
        let state = roster.get(id).map(|view| view.state);
        matches!(state, Some(ActorState::Idle | ActorState::Busy))
    };
    assert!(up(&id), "{what}: it runs");

    let held = roster.hold(&id).unwrap();
    let depth = || roster.get(&id).unwrap().mailbox.depth;
    universe.until("it is held", || depth() == 0).await;
    let job = universe.trigger(team, Environments, Class::Manual).await;
    universe.handle().nudge();
    universe.signals.send(Signal::QueueMoved);
    universe.signals.send(Signal::Outbox(team));
    universe.until("messages wait", || depth() > 0).await;
    let began = Instant::now();
    match fault {
        Fault::Panic => held.panic(),
        Fault::Error => held.fail(),
        Fault::Kill | Fault::Restart => fault.strike(&roster, &id),
    }
    universe.until("it fell", || roster.get(&id).unwrap().last_exit.is_some()).await;
    assert_eq!(roster.get(&id).unwrap().last_exit.unwrap().cause, fault.cause(), "{what}");
    let ended = universe.ended(team, job).await;
    assert_eq!(ended.state, JobState::Succeeded, "{what}");
    let took = began.elapsed();
    // A pool has most time to stop before it is killed.
    assert!(took < secs(40), "{what}: the job ended after {took:?}");

    // And again, once nobody looks because of the start.
    universe.until("it is up again", || up(&id)).await;
    let mut subscription = universe.handle().subscribe(team).await.unwrap();
    for round in 1..=2 {
        pass(secs(5)).await;
        let began = Instant::now();
        let again = universe.sync(team, Environments).await;
        assert_eq!(again.state, JobState::Succeeded, "{what}");
        assert!(began.elapsed() < secs(2), "{what}, round {round}: {:?}", began.elapsed());
        loop {
            let told = tokio::time::timeout(secs(2), subscription.live.recv()).await;
            let told = told.unwrap_or_else(|_| panic!("{what}, round {round}: nobody is told"));
            if matches!(&told.unwrap().event.body, EventBody::Completed(c) if c.job_id == again.id)
            {
                break;
            }
        }
    }
    universe.settle().await;
    universe.shutdown().await;
}

macro_rules! each_actor_with_a_backlog {
    ($($actor:ident),+ $(,)?) => {
        /// Actors that others send to; the rest only ever have their own timers.
        mod with_a_backlog {
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                async fn $actor() {
                    for fault in [Fault::Kill, Fault::Panic, Fault::Error, Fault::Restart] {
                        strike_with_backlog(stringify!($actor), fault).await;
                    }
                }
            )+
        }
    };
}

each_actor_with_a_backlog!(
    pulse,
    event_broadcaster,
    team_pool,
    team_sync,
    job_intake,
    dispatcher,
    scheduler,
);
