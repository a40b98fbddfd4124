//! A scripted platform behind the rate limiter, which a client takes before
//! every request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ScriptedPlatform;
use crate::domain::{Baseline, Failure, FailureClass};
use crate::ports::credentials::Access;
use crate::ports::limiter::Limiter;
use crate::ports::platform::{
    Account, ActionPage, ActionQuery, ActionTarget, ElementSink, Listing, ListingMethod, Lookup,
    Outlines, Platform, PlatformResult,
};

/// A longer wait settles the job instead.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// One replica's client of the platform that all replicas share.
pub struct PacedPlatform {
    platform: Arc<ScriptedPlatform>,
    limiter: Arc<dyn Limiter>,
}

impl PacedPlatform {
    /// Asks `platform` as fast as `limiter` lets it.
    pub fn new(platform: Arc<ScriptedPlatform>, limiter: Arc<dyn Limiter>) -> Self {
        Self { platform, limiter }
    }

    async fn leave(&self, access: &Access) -> PlatformResult<&ScriptedPlatform> {
        let asked = self.limiter.acquire(access.platform, access.team, MAX_WAIT).await;
        asked.map_err(|wait| Failure {
            retry_after: Some(wait.retry_in),
            ..Failure::new(FailureClass::Throttled, "rate_limit", "our own rate limit")
        })?;
        Ok(&self.platform)
    }
}

#[async_trait]
impl Platform for PacedPlatform {
    async fn account(&self, access: &Access) -> PlatformResult<Account> {
        self.leave(access).await?.account(access).await
    }

    async fn environments(
        &self,
        access: &Access,
        method: ListingMethod,
        baseline: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing> {
        self.leave(access).await?.environments(access, method, baseline, sink).await
    }

    async fn outlines(&self, access: &Access) -> PlatformResult<Outlines> {
        self.leave(access).await?.outlines(access).await
    }

    async fn environment(&self, access: &Access, env_name: &str) -> PlatformResult<Lookup> {
        self.leave(access).await?.environment(access, env_name).await
    }

    async fn actions(&self, access: &Access, query: &ActionQuery) -> PlatformResult<ActionPage> {
        self.leave(access).await?.actions(access, query).await
    }

    async fn current_actions(&self, access: &Access) -> PlatformResult<Vec<ActionTarget>> {
        self.leave(access).await?.current_actions(access).await
    }
}
