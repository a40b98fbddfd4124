//! The hint lock in Redis: `vz:sync:lock:{team_id}:{scope}` holds the run's id
//! and expires by itself. Whatever compares is a script, so that nobody
//! touches a lock that meanwhile is another's.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, from_redis_value};
use uuid::Uuid;
use vz_sync_actors::domain::{RunId, ScopeKey};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::lock::{Acquired, Holder, Lock};

use super::error::unreadable;
use super::pool::RedisPool;
use super::question::{Question, Script};

static ACQUIRE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/acquire.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/renew.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/release.lua")));
static TAKE_OVER: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/take_over.lua")));

/// The hint lock that all replicas share.
#[derive(Debug, Clone)]
pub struct RedisLock {
    pool: RedisPool,
}

impl RedisLock {
    /// Keeps it through `pool`.
    pub const fn new(pool: RedisPool) -> Self {
        Self { pool }
    }

    async fn yes(&self, question: &Question) -> PortResult<bool> {
        let answer = self.pool.ask(question).await?;
        from_redis_value(answer).map_err(|error| unreadable(format!("unexpected answer: {error}")))
    }
}

#[async_trait]
impl Lock for RedisLock {
    async fn acquire(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<Acquired> {
        let question = ACQUIRE.over(&[&name(key)]).arg(owner.to_string()).arg(millis(ttl));
        let answer = self.pool.ask(&question).await?;
        match holder(key, answer)? {
            Some(holder) if holder.owner != owner => Ok(Acquired::HeldBy(holder)),
            _ => Ok(Acquired::Yes),
        }
    }

    async fn renew(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<bool> {
        let question = RENEW.over(&[&name(key)]).arg(owner.to_string()).arg(millis(ttl));
        self.yes(&question).await
    }

    async fn release(&self, key: ScopeKey, owner: RunId) -> PortResult<bool> {
        self.yes(&RELEASE.over(&[&name(key)]).arg(owner.to_string())).await
    }

    async fn take_over(
        &self,
        key: ScopeKey,
        dead: RunId,
        owner: RunId,
        ttl: Duration,
    ) -> PortResult<bool> {
        let question = TAKE_OVER
            .over(&[&name(key)])
            .arg(dead.to_string())
            .arg(owner.to_string())
            .arg(millis(ttl));
        self.yes(&question).await
    }

    async fn holder(&self, key: ScopeKey) -> PortResult<Option<Holder>> {
        let mut ask = redis::pipe();
        // Together, or the lock may expire between the two.
        ask.atomic().get(name(key)).pttl(name(key));
        holder(key, self.pool.ask(&Question::reading(ask)).await?)
    }
}

/// The key of a lock.
pub fn name(key: ScopeKey) -> String {
    format!("vz:sync:lock:{key}")
}

/// A lock of no time at all would be one for ever: Redis refuses it.
fn millis(ttl: Duration) -> u64 {
    (ttl.as_millis() as u64).max(1)
}

/// Reads who holds the lock, and how many ms yet.
fn holder(key: ScopeKey, answer: Value) -> PortResult<Option<Holder>> {
    let (owner, left): (Option<String>, i64) = from_redis_value(answer)
        .map_err(|error| unreadable(format!("{}: unexpected answer: {error}", name(key))))?;
    let Some(owner) = owner else { return Ok(None) };
    let owner = Uuid::try_parse(&owner)
        .map_err(|_| unreadable(format!("{} is held by something that is no run", name(key))))?;
    // Below zero, it has no end that anybody knows.
    let remaining = Duration::from_millis(left.max(0).unsigned_abs());
    Ok(Some(Holder { owner: RunId(owner), remaining }))
}
