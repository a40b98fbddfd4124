//! A platform client whose calls are counted by method and outcome.

use std::sync::Arc;

use async_trait::async_trait;
use vz_sync_actors::domain::Baseline;
use vz_sync_actors::ports::credentials::Access;
use vz_sync_actors::ports::platform::{
    Account, ActionPage, ActionQuery, ActionTarget, ElementSink, Listing, ListingMethod, Lookup,
    Outlines, Platform, PlatformResult,
};

use super::Metrics;

/// Counts in front of a platform client.
pub struct MeteredPlatform {
    inner: Arc<dyn Platform>,
    metrics: Metrics,
}

impl MeteredPlatform {
    /// Wraps a client.
    pub fn new(inner: Arc<dyn Platform>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn count<T>(&self, method: &str, result: PlatformResult<T>) -> PlatformResult<T> {
        let class = result.as_ref().err().map_or("ok", |failure| failure.class.as_str());
        self.metrics.platform_requests.with_label_values(&[method, class]).inc();
        result
    }
}

#[async_trait]
impl Platform for MeteredPlatform {
    async fn account(&self, access: &Access) -> PlatformResult<Account> {
        self.count("getuserinfo", self.inner.account(access).await)
    }

    async fn environments(
        &self,
        access: &Access,
        method: ListingMethod,
        baseline: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing> {
        let name = match method {
            ListingMethod::Basic => "getbasicenvsinfo",
            ListingMethod::Whole => "getenvs",
        };
        self.count(name, self.inner.environments(access, method, baseline, sink).await)
    }

    async fn outlines(&self, access: &Access) -> PlatformResult<Outlines> {
        self.count("getenvs", self.inner.outlines(access).await)
    }

    async fn environment(&self, access: &Access, env_name: &str) -> PlatformResult<Lookup> {
        self.count("getenvinfo", self.inner.environment(access, env_name).await)
    }

    async fn actions(&self, access: &Access, query: &ActionQuery) -> PlatformResult<ActionPage> {
        self.count("searchactions", self.inner.actions(access, query).await)
    }

    async fn current_actions(&self, access: &Access) -> PlatformResult<Vec<ActionTarget>> {
        self.count("getcurrentactions", self.inner.current_actions(access).await)
    }
}
