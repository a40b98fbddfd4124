//! The run lock inside one process.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::locked;
use crate::domain::{RunId, ScopeKey};
use crate::ports::PortResult;
use crate::ports::lock::{Acquired, Holder, Lock};

/// Locks with an owner and an expiry, as Redis keeps them.
#[derive(Debug, Default)]
pub struct EmbeddedLock {
    held: Mutex<HashMap<ScopeKey, Held>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    owner: RunId,
    until: Instant,
}

impl EmbeddedLock {
    /// Nothing is held.
    pub fn new() -> Self {
        Self::default()
    }

    fn set_if(
        &self,
        key: ScopeKey,
        owner: RunId,
        ttl: Duration,
        only_while: impl Fn(Option<Held>) -> bool,
    ) -> Result<(), Option<Held>> {
        let mut held = locked(&self.held);
        let current = live(&held, key);
        if !only_while(current) {
            return Err(current);
        }
        held.insert(key, Held { owner, until: Instant::now() + ttl });
        Ok(())
    }
}

fn live(held: &HashMap<ScopeKey, Held>, key: ScopeKey) -> Option<Held> {
    held.get(&key).copied().filter(|lock| lock.until > Instant::now())
}

fn told(held: Held) -> Holder {
    Holder { owner: held.owner, remaining: held.until.saturating_duration_since(Instant::now()) }
}

#[async_trait]
impl Lock for EmbeddedLock {
    async fn acquire(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<Acquired> {
        let free_or_ours = |held: Option<Held>| held.is_none_or(|held| held.owner == owner);
        Ok(match self.set_if(key, owner, ttl, free_or_ours) {
            Err(Some(holder)) => Acquired::HeldBy(told(holder)),
            Ok(()) | Err(None) => Acquired::Yes,
        })
    }

    async fn renew(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<bool> {
        let ours = |held: Option<Held>| held.is_some_and(|held| held.owner == owner);
        Ok(self.set_if(key, owner, ttl, ours).is_ok())
    }

    async fn release(&self, key: ScopeKey, owner: RunId) -> PortResult<bool> {
        let mut held = locked(&self.held);
        let ours = live(&held, key).is_some_and(|held| held.owner == owner);
        if ours {
            held.remove(&key);
        }
        Ok(ours)
    }

    async fn take_over(
        &self,
        key: ScopeKey,
        dead: RunId,
        owner: RunId,
        ttl: Duration,
    ) -> PortResult<bool> {
        let the_dead = |held: Option<Held>| held.is_some_and(|held| held.owner == dead);
        Ok(self.set_if(key, owner, ttl, the_dead).is_ok())
    }

    async fn holder(&self, key: ScopeKey) -> PortResult<Option<Holder>> {
        Ok(live(&locked(&self.held), key).map(told))
    }
}
