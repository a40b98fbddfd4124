//! The rate limit shared by all runs of this replica.
//!
//! The platform's limit is divided by the live replicas; a changed share
//! starts with an empty bucket, never a full one. A share is lent for a time,
//! so that a replica that no longer knows who else lives stops by itself, even
//! when whoever should have told it hangs.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::domain::{PlatformId, TeamId};

/// Grants requests.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Waits for leave to send one request, at most `max_wait`; past that
    /// nothing is taken and the caller comes back later.
    async fn acquire(
        &self,
        platform: PlatformId,
        team: TeamId,
        max_wait: Duration,
    ) -> Result<(), RateWait>;

    /// Sets how many replicas share the limits, and until when that may be
    /// relied on: past it nothing is granted until a new share is set. 0 stops
    /// all requests at once. Before the first share nothing is granted.
    fn share(&self, live_replicas: u32, until: Instant);
}

/// Leave would come only after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateWait {
    /// Time until leave may be had.
    pub retry_in: Duration,
}
