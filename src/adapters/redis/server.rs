//! What the server says of itself, for whoever checks an installation.

use std::time::Duration;

use redis::{InfoDict, from_redis_value};
use time::OffsetDateTime;
use tokio::time::Instant;
use vz_sync_actors::ports::PortResult;

use super::error::unreadable;
use super::pool::RedisPool;
use super::question::Question;

/// The oldest version that the scripts run on.
pub const OLDEST: (u32, u32) = (6, 2);

/// A server as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `redis_version`, e.g. `7.0.15`.
    pub version: String,
    /// `maxmemory_policy`: anything but `noeviction` may lose parts of the queue.
    pub maxmemory_policy: String,
    /// `maxmemory` in bytes; 0 is no limit.
    pub maxmemory: u64,
    /// Whether it is in cluster mode, which is not supported.
    pub cluster: bool,
    /// Whether it takes writes: a replica does not.
    pub primary: bool,
    /// Its clock.
    pub now: OffsetDateTime,
    /// How long it took to answer.
    pub round_trip: Duration,
}

impl ServerInfo {
    /// Whether the scripts run on this version.
    pub fn is_new_enough(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
    }
}

impl RedisPool {
    /// Asks for a sign of life; answers how long it took.
    pub async fn ping(&self) -> PortResult<Duration> {
        let mut ask = redis::pipe();
        ask.cmd("PING");
        let asked_at = Instant::now();
        self.ask(&Question::reading(ask)).await?;
        Ok(asked_at.elapsed())
    }

    /// Asks the server to describe itself; its user must be allowed INFO and
    /// TIME.
    pub async fn info(&self) -> PortResult<ServerInfo> {
        let mut ask = redis::pipe();
        ask.cmd("TIME").cmd("INFO");
        let asked_at = Instant::now();
        let answer = self.ask(&Question::reading(ask)).await?;
        let round_trip = asked_at.elapsed();
        let ((seconds, micros), info): ((i64, i64), InfoDict) = from_redis_value(answer)
            .map_err(|error| unreadable(format!("unexpected answer to INFO: {error}")))?;
        let now = OffsetDateTime::from_unix_timestamp(seconds).map_err(unreadable)?;
        let word = |name: &str| info.get::<String>(name).unwrap_or_default();
        Ok(ServerInfo {
            version: word("redis_version"),
            maxmemory_policy: word("maxmemory_policy"),
            maxmemory: info.get("maxmemory").unwrap_or_default(),
            cluster: word("cluster_enabled") == "1",
            primary: word("role") == "master",
            now: now + time::Duration::microseconds(micros),
            round_trip,
        })
    }
}
