//! The Redis adapters, each test against a server of its own over TCP.

mod claimers;
mod engine;
mod exam;
mod scripts;
mod server;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, FromRedisValue};
use time::OffsetDateTime;
use vz_sync::adapters::redis::due_queue::IN_FLIGHT;
use vz_sync::adapters::redis::{RedisDueQueue, RedisLock};
use vz_sync_actors::conformance::Pace;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{Class, JobId, Scope, ScopeKey, TeamId};
use vz_sync_actors::ports::due_queue::{DueEntry, DueQueue};

use crate::support::redis::RedisServer;

const LEASE: Duration = Duration::from_secs(30);

/// A server, a pool to it behind both adapters, and a client for looking.
struct Ground {
    server: Arc<RedisServer>,
    queue: Arc<RedisDueQueue>,
    lock: Arc<RedisLock>,
    client: MultiplexedConnection,
}

impl Ground {
    async fn new() -> Self {
        let server = Arc::new(RedisServer::start().await);
        let pool = server.pool();
        let client = server.client().await;
        let (queue, lock) = (RedisDueQueue::new(pool.clone()), RedisLock::new(pool));
        Self { server, queue: Arc::new(queue), lock: Arc::new(lock), client }
    }

    fn pace(&self) -> Arc<MovedPace> {
        Arc::new(MovedPace(Arc::clone(&self.server)))
    }

    /// Runs a command of the test's own.
    async fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.client).await.unwrap()
    }

    /// The teams that a pop of the lane gives.
    async fn popped(&self, lane: Lane, limit: usize) -> Vec<i64> {
        teams(&self.queue.pop(lane, limit, LEASE).await.unwrap())
    }
}

fn teams(entries: &[DueEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.key.team.0).collect()
}

fn key(team: i64) -> ScopeKey {
    ScopeKey::new(TeamId(team), Scope::Environments)
}

fn entry(team: i64, class: Class) -> DueEntry {
    DueEntry {
        key: key(team),
        job: JobId(team),
        class,
        deadline: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        trace_parent: None,
    }
}

/// Lets time pass by moving every time on the server into the past.
struct MovedPace(Arc<RedisServer>);

#[async_trait]
impl Pace for MovedPace {
    async fn pass(&self, by: Duration) {
        let mut client = self.0.client().await;
        let by = by.as_millis() as i64;
        let keys: Vec<String> = client.keys("*").await.unwrap();
        for key in keys {
            let left: i64 = client.pttl(&key).await.unwrap();
            // Redis deletes a key whose time to live is none.
            let _: bool = client.pexpire(&key, left - by).await.unwrap();
        }
        let in_flight: Vec<String> = client.zrange(IN_FLIGHT, 0, -1).await.unwrap();
        for member in in_flight {
            let _: f64 = client.zincr(IN_FLIGHT, member, -by).await.unwrap();
        }
    }
}
