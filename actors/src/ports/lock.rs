//! The run lock: a hint that saves work.
//!
//! Two holders at once are possible (expiry, failover, flush) and harmless:
//! the lease in [`super::store`] is the real lock. Without the lock's server
//! runs go on.

use std::time::Duration;

use async_trait::async_trait;

use super::PortResult;
use crate::domain::{RunId, ScopeKey};

/// Locks with an owner and an expiry.
#[async_trait]
pub trait Lock: Send + Sync + 'static {
    /// Takes the lock if nobody holds it; `Err(holder)` inside tells who does.
    /// Taking a lock that the owner already holds extends it.
    async fn acquire(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<Acquired>;

    /// Extends the lock only while `owner` holds it; `false` when it does not.
    async fn renew(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<bool>;

    /// Removes the lock only while `owner` holds it; `false` when it did not.
    async fn release(&self, key: ScopeKey, owner: RunId) -> PortResult<bool>;

    /// Passes the lock from a holder that is known to be dead to `owner`, only
    /// if `dead` still holds it.
    async fn take_over(
        &self,
        key: ScopeKey,
        dead: RunId,
        owner: RunId,
        ttl: Duration,
    ) -> PortResult<bool>;

    /// Who holds the lock, and for how long yet.
    async fn holder(&self, key: ScopeKey) -> PortResult<Option<Holder>>;
}

/// The answer to [`Lock::acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// The lock is the caller's.
    Yes,
    /// Somebody else holds it.
    HeldBy(Holder),
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The run that took it.
    pub owner: RunId,
    /// Time left before it expires.
    pub remaining: Duration,
}
