//! Servers that are late, silent, gone or empty: a call ends in time, says
//! what it knows, costs its connection, and the next one works.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, FromRedisValue};
use tokio::time::{Instant, timeout};
use vz_sync::adapters::redis::due_queue::DUE;
use vz_sync::adapters::redis::{RedisDueQueue, RedisLock, RedisPool};
use vz_sync_actors::domain::Class;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::due_queue::DueQueue as _;
use vz_sync_actors::ports::lock::{Acquired, Lock as _};
use vz_sync_actors::ports::{PortError, PortResult};
use vz_sync_actors::testkit::fixtures::run_id;

use super::{LEASE, entry, key, teams};
use crate::support::proxy::{Behaviour, Proxy};
use crate::support::redis::{RedisServer, pool_to};

/// The deadline of calls here, and one for calls that must get half-way on a
/// loaded machine.
const DEADLINE: Duration = Duration::from_millis(300);
const LONG_DEADLINE: Duration = Duration::from_secs(2);
/// What a call may take on a loaded machine, deadline included.
const PATIENCE: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(60);

struct Scene {
    server: RedisServer,
    proxy: Proxy,
    pool: RedisPool,
    queue: RedisDueQueue,
    lock: RedisLock,
}

impl Scene {
    async fn new() -> Self {
        Self::with(DEADLINE).await
    }

    async fn with(deadline: Duration) -> Self {
        let server = RedisServer::start().await;
        let proxy = Proxy::before(server.address()).await;
        let pool = pool_to(proxy.address(), deadline);
        let (queue, lock) = (RedisDueQueue::new(pool.clone()), RedisLock::new(pool.clone()));
        let scene = Self { server, proxy, pool, queue, lock };
        scene.answers_again().await;
        scene
    }

    /// Waits until calls are let through again.
    async fn answers_again(&self) {
        let again = async {
            while self.pool.ping().await.is_err() {
                // The sign of life is asked for in the background.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), again).await.expect("it answers again");
    }
}

async fn in_time<T>(call: impl Future<Output = PortResult<T>>) -> PortResult<T> {
    timeout(PATIENCE, call).await.expect("every call ends")
}

fn is_unknown<T: std::fmt::Debug>(answer: &PortResult<T>) -> bool {
    matches!(answer, Err(PortError::OutcomeUnknown { service: "redis", .. }))
}

fn is_unavailable<T: std::fmt::Debug>(answer: &PortResult<T>) -> bool {
    matches!(answer, Err(PortError::Unavailable { service: "redis", .. }))
}

#[tokio::test]
async fn a_late_answer_leaves_the_outcome_open_and_a_repetition_is_harmless() {
    let scene = Scene::with(LONG_DEADLINE).await;
    scene.queue.enqueue(&[entry(2, Class::Manual)]).await.unwrap();
    // Trying the connection is in time, and the answer after it no longer.
    scene.proxy.set(Behaviour::Latency(LONG_DEADLINE * 2 / 3));
    let late = in_time(scene.queue.enqueue(&[entry(1, Class::Manual)])).await;
    assert!(is_unknown(&late), "{late:?}");
    let mut client = scene.server.client().await;
    let queued: u64 = client.zcard(DUE).await.unwrap();
    assert_eq!(queued, 2, "it was carried out");
    scene.proxy.set(Behaviour::Pass);
    scene.answers_again().await;
    scene.queue.enqueue(&[entry(1, Class::Manual)]).await.unwrap();
    assert_eq!(scene.queue.depths().await.unwrap().high, 2);
}

/// The server did it, and the caller does not know.
#[tokio::test]
async fn a_swallowed_answer_was_given() {
    let scene = Scene::with(LONG_DEADLINE).await;
    let mut client = scene.server.client().await;
    // From now on the script is known by its hash, and goes in one round.
    scene.lock.acquire(key(9), run_id(9), TTL).await.unwrap();
    let before = scene.proxy.counts();
    let _: () = command(&["CLIENT", "PAUSE", "60000", "WRITE"], &mut client).await;
    let call = in_time(scene.lock.acquire(key(1), run_id(1), TTL));
    let swallow = async {
        // The script waits for the end of the pause; its PING has been answered.
        blocks_somebody(&mut client).await;
        scene.proxy.set(Behaviour::SwallowAnswers);
        let _: () = command(&["CLIENT", "UNPAUSE"], &mut client).await;
        scene.proxy.until(|counts| counts.swallowed > before.swallowed).await;
    };
    let (answer, ()) = tokio::join!(call, swallow);
    assert!(is_unknown(&answer), "{answer:?}");
    let holder: String = client.get("vz:sync:lock:1:environments").await.unwrap();
    assert_eq!(holder, run_id(1).to_string(), "it was carried out");

    scene.proxy.set(Behaviour::Pass);
    scene.answers_again().await;
    assert_eq!(scene.lock.acquire(key(1), run_id(1), TTL).await.unwrap(), Acquired::Yes);
    let other = scene.lock.acquire(key(1), run_id(2), TTL).await.unwrap();
    assert!(matches!(other, Acquired::HeldBy(holder) if holder.owner == run_id(1)));
    assert!(scene.proxy.counts().connections > before.connections, "the connection was replaced");
}

async fn blocks_somebody(client: &mut MultiplexedConnection) {
    loop {
        let clients: String = command(&["CLIENT", "LIST"], client).await;
        if clients.contains("flags=b") {
            return;
        }
        // Redis tells nobody that it holds a client up.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn command<T: FromRedisValue>(words: &[&str], client: &mut MultiplexedConnection) -> T {
    redis::cmd(words[0]).arg(&words[1..]).query_async(client).await.unwrap()
}

#[tokio::test]
async fn a_blackhole_costs_the_first_caller_its_deadline_and_the_next_nothing() {
    let scene = Scene::new().await;
    scene.proxy.set(Behaviour::Blackhole);
    let first = in_time(scene.queue.depths()).await;
    assert!(is_unavailable(&first), "{first:?}");
    let began = Instant::now();
    for _ in 0..100 {
        let next = scene.queue.pop(Lane::High, 1, LEASE).await;
        assert!(is_unavailable(&next), "{next:?}");
    }
    assert!(began.elapsed() < DEADLINE, "nobody waits for a silent server twice");
    scene.proxy.set(Behaviour::Pass);
    scene.answers_again().await;
    scene.queue.enqueue(&[entry(1, Class::Manual)]).await.unwrap();
    assert_eq!(teams(&scene.queue.pop(Lane::High, 9, LEASE).await.unwrap()), [1]);
}

#[tokio::test]
async fn half_open_connections_are_found_before_they_are_used() {
    let scene = Scene::new().await;
    let connections = scene.proxy.counts().connections;
    scene.proxy.half_open();
    let _ = in_time(scene.queue.depths()).await;
    scene.answers_again().await;
    scene.queue.enqueue(&[entry(1, Class::Manual)]).await.unwrap();
    assert_eq!(scene.queue.depths().await.unwrap().high, 1);
    assert!(scene.proxy.counts().connections > connections);
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_no_answer() {
    let scene = Scene::new().await;
    let entries: Vec<_> = (1..=50).map(|team| entry(team, Class::Manual)).collect();
    scene.queue.enqueue(&entries).await.unwrap();
    // PING's seven bytes pass, most of the list does not.
    scene.proxy.set(Behaviour::CutAfter(100));
    let cut = in_time(scene.queue.pop(Lane::High, 50, LEASE)).await;
    assert!(is_unknown(&cut), "{cut:?}");
    scene.proxy.set(Behaviour::Pass);
    scene.answers_again().await;
    let depths = scene.queue.depths().await.unwrap();
    assert_eq!((depths.high, depths.in_flight), (0, 50), "popped, and back after their lease");
}

#[tokio::test]
async fn answers_that_drip_past_the_deadline_are_late() {
    let scene = Scene::new().await;
    scene.proxy.set(Behaviour::Drip(DEADLINE / 4));
    assert!(in_time(scene.queue.depths()).await.is_err());
    scene.proxy.set(Behaviour::Pass);
    scene.answers_again().await;
}

/// A caller that gives up in the middle leaves no half-used connection.
#[tokio::test]
async fn a_caller_that_gives_up_costs_its_connection_only() {
    let scene = Scene::new().await;
    let connections = scene.proxy.counts().connections;
    scene.proxy.set(Behaviour::Latency(DEADLINE / 3));
    let hasty = timeout(DEADLINE / 6, scene.queue.depths()).await;
    assert!(hasty.is_err(), "it gave up");
    scene.proxy.set(Behaviour::Pass);
    scene.queue.enqueue(&[entry(1, Class::Manual)]).await.unwrap();
    assert_eq!(scene.queue.depths().await.unwrap().high, 1);
    assert!(scene.proxy.counts().connections > connections);
}

#[tokio::test]
async fn a_killed_server_refuses_at_once_and_comes_back_empty() {
    let server = RedisServer::start().await;
    let pool = server.pool();
    let (queue, lock) = (RedisDueQueue::new(pool.clone()), RedisLock::new(pool.clone()));
    queue.enqueue(&[entry(1, Class::Manual), entry(2, Class::Manual)]).await.unwrap();
    lock.acquire(key(1), run_id(1), TTL).await.unwrap();
    assert_eq!(teams(&queue.pop(Lane::High, 1, LEASE).await.unwrap()), [1]);
    server.kill().await;
    // The pool's deadline is twenty seconds: what is refused does not wait for it.
    let began = Instant::now();
    let refused = queue.enqueue(&[entry(3, Class::Manual)]).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    let refused = lock.acquire(key(1), run_id(2), TTL).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    assert!(server.start_again().await);
    let again = async {
        while pool.ping().await.is_err() {
            // The sign of life is asked for in the background.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), again).await.expect("it is found again");
    queue.confirm(&[key(1)]).await.unwrap();
    assert_eq!(queue.depths().await.unwrap().high, 0);
    queue.enqueue(&[entry(3, Class::Manual)]).await.unwrap();
    assert_eq!(teams(&queue.pop(Lane::High, 9, LEASE).await.unwrap()), [3]);
    assert_eq!(lock.acquire(key(1), run_id(2), TTL).await.unwrap(), Acquired::Yes);
}

#[tokio::test]
async fn a_frozen_server_is_silent_and_answers_after() {
    let scene = Scene::new().await;
    scene.server.freeze(true).await;
    assert!(in_time(scene.lock.holder(key(1))).await.is_err());
    scene.server.freeze(false).await;
    scene.answers_again().await;
    assert_eq!(scene.lock.holder(key(1)).await.unwrap(), None);
}

/// A server that answers and refuses is not silent: others of its answers count.
#[tokio::test]
async fn a_full_server_refuses_writes_and_serves_reads() {
    let server = RedisServer::start().await;
    let queue = RedisDueQueue::new(server.pool());
    let mut client = server.client().await;
    let _: () = command(&["CONFIG", "SET", "maxmemory", "1"], &mut client).await;
    let refused = queue.enqueue(&[entry(1, Class::Manual)]).await;
    assert!(is_unavailable(&refused), "it passes once there is room: {refused:?}");
    assert_eq!(queue.depths().await.unwrap().high, 0);
    let _: () = command(&["CONFIG", "SET", "maxmemory", "0"], &mut client).await;
    queue.enqueue(&[entry(1, Class::Manual)]).await.unwrap();
}
