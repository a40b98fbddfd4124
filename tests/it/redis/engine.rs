//! The whole engine over a real Redis that is killed, flushed and slowed: what
//! is due runs, once.

use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands as _;
use tokio::time::{Instant, timeout};
use vz_sync::adapters::redis::due_queue::DUE;
use vz_sync::adapters::redis::{RedisDueQueue, RedisLock};
use vz_sync_actors::domain::Scope::Environments;
use vz_sync_actors::domain::{JobState, TeamId};
use vz_sync_actors::kit::ActorId;
use vz_sync_actors::ports::reads::Reads as _;
use vz_sync_actors::testkit::Universe;

use crate::support::proxy::{Behaviour, Proxy};
use crate::support::redis::{RedisServer, pool_to};

/// The shipped deadline is 800 ms; half of that is still slow for Redis.
const DEADLINE: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(60);
const TEAMS: i64 = 80;

/// One replica over the server at an address. A lost state is runnable again
/// after two seconds instead of a minute.
async fn universe(seed: u64, address: std::net::SocketAddr) -> Universe {
    let pool = pool_to(address, DEADLINE);
    let (queue, lock) = (RedisDueQueue::new(pool.clone()), RedisLock::new(pool));
    let mut universe =
        Universe::new(seed).over(Arc::new(queue), Arc::new(lock)).tuned(|settings| {
            settings.redispatch = Duration::from_secs(2);
            settings.poll = Duration::from_millis(500);
            settings.dispatch_poll = Duration::from_millis(50);
        });
    universe.start_replica().await;
    universe
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens")
}

fn is_away(universe: &Universe) -> bool {
    let id = ActorId::root().child("dispatcher");
    universe.handle().roster().get(&id).unwrap().details["queue_away"] == true
}

/// Every scope has one job that succeeded at once.
async fn each_ran_once(universe: &Universe, teams: i64) {
    for id in 1..=teams {
        let jobs = universe.store.jobs(TeamId(id), None, None, 100).await.unwrap();
        let once = jobs.iter().all(|job| job.state == JobState::Succeeded && job.attempt == 1);
        assert!(jobs.len() == 3 && once, "{jobs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_run_while_redis_is_dead_and_through_it_when_it_is_back() {
    let server = RedisServer::start().await;
    let mut universe = universe(1, server.address()).await;
    let team = universe.team(1, 3, 1).await;
    universe.handle().nudge();
    within(universe.settle()).await;

    server.kill().await;
    let began = Instant::now();
    let job = within(universe.sync(team, Environments)).await;
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
    // Sooner than by any re-dispatch.
    assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
    within(universe.until("the outage is seen", || is_away(&universe))).await;

    assert!(server.start_again().await);
    within(universe.until("it is found again", || !is_away(&universe))).await;
    let job = within(universe.sync(team, Environments)).await;
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
    let mut client = server.client().await;
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut client).await.unwrap();
    assert!(stats.contains("cmdstat_zadd"), "the trigger went through Redis: {stats}");
    within(universe.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_survives_flushes() {
    let server = RedisServer::start().await;
    let mut universe = universe(2, server.address()).await;
    for id in 1..=TEAMS {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = Duration::from_millis(20));
    }
    universe.handle().nudge();
    let mut client = server.client().await;
    let done = |universe: &Universe| {
        universe.scopes().iter().filter(|scope| scope.last_success_at.is_some()).count()
    };
    let mut lost = 0;
    for part in 1..=4 {
        within(universe.until("some ran", || done(&universe) >= part * 40)).await;
        let waiting: u64 = client.zcard(DUE).await.unwrap();
        lost += waiting;
        let _: () = redis::cmd("FLUSHALL").query_async(&mut client).await.unwrap();
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut client).await.unwrap();
    }
    assert!(lost > 0, "control: the flushes met a queue");
    within(universe.settle()).await;
    each_ran_once(&universe, TEAMS).await;
    within(universe.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_survives_kills() {
    let server = RedisServer::start().await;
    let mut universe = universe(3, server.address()).await;
    for id in 1..=TEAMS {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = Duration::from_millis(20));
    }
    universe.handle().nudge();
    let done = |universe: &Universe| {
        universe.scopes().iter().filter(|scope| scope.last_success_at.is_some()).count()
    };
    for part in 1..=4 {
        within(universe.until("some ran", || done(&universe) >= part * 50 - 25)).await;
        server.kill().await;
        within(universe.until("some ran without", || done(&universe) >= part * 50)).await;
        assert!(server.start_again().await);
    }
    within(universe.settle()).await;
    each_ran_once(&universe, TEAMS).await;
    within(universe.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_slows_nobody() {
    let server = RedisServer::start().await;
    let proxy = Proxy::before(server.address()).await;
    let mut universe = universe(4, proxy.address()).await;
    let team = universe.team(1, 3, 1).await;
    universe.handle().nudge();
    within(universe.settle()).await;
    for behaviour in [
        Behaviour::Latency(DEADLINE * 2),
        Behaviour::Blackhole,
        Behaviour::SwallowAnswers,
        Behaviour::CutAfter(20),
    ] {
        proxy.set(behaviour);
        let job = within(universe.sync(team, Environments)).await;
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1), "{behaviour:?}");
        // Once it is known to be silent, nobody waits for it at all.
        if behaviour != Behaviour::CutAfter(20) {
            within(universe.until("it is seen", || is_away(&universe))).await;
        }
        proxy.set(Behaviour::Pass);
        within(universe.until("it is found again", || !is_away(&universe))).await;
    }
    assert_eq!(within(universe.sync(team, Environments)).await.state, JobState::Succeeded);
    within(universe.shutdown()).await;
}
