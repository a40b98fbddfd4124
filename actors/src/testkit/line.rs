//! A replica's line to the store and to the lock, which can be cut: what a
//! dead process or a lost network looks like from the other side. Stalled, it
//! swallows heartbeats without an answer, as a half-open connection does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::domain::{
    Baseline, DataType, ExternalId, HoldId, JobId, ReplicaId, RunId, ScopeKey, SourceVersion,
    TeamId,
};
use crate::embedded::{EmbeddedLock, MemoryStore};
use crate::ports::due_queue::DueEntry;
use crate::ports::lock::{Acquired, Holder, Lock};
use crate::ports::replicas::{Fleet, Freed, ReplicaInfo, ReplicaView, Replicas};
use crate::ports::store::{
    Applied, Apply, ArchivedSite, ClaimAsk, LeaseAnswer, LeaseAsk, LeaseRef, Requested, Settled,
    Settlement, Store, SyncRequest, Upsert,
};
use crate::ports::{PortError, PortResult};

/// The line of one replica; clones share it.
#[derive(Clone)]
pub struct Line {
    store: MemoryStore,
    lock: Arc<EmbeddedLock>,
    cut: Arc<AtomicBool>,
    stalled: watch::Sender<bool>,
}

impl Line {
    /// A line that works.
    pub fn new(store: MemoryStore, lock: Arc<EmbeddedLock>) -> Self {
        Self { store, lock, cut: Arc::default(), stalled: watch::Sender::new(false) }
    }

    /// Nothing gets through until it is mended.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Heartbeats get no answer until it is mended.
    pub fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// Everything gets through again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::Release);
        self.stalled.send_replace(false);
    }

    fn check(&self, service: &'static str) -> PortResult<()> {
        if self.cut.load(Ordering::Acquire) {
            return Err(PortError::Unavailable { service, message: "the line is cut".to_owned() });
        }
        Ok(())
    }

    fn store(&self) -> PortResult<&MemoryStore> {
        self.check("store").map(|()| &self.store)
    }

    fn lock(&self) -> PortResult<&EmbeddedLock> {
        self.check("lock").map(|()| &*self.lock)
    }
}

#[async_trait]
impl Store for Line {
    async fn claim(&self, ask: &ClaimAsk) -> PortResult<Vec<DueEntry>> {
        self.store()?.claim(ask).await
    }

    async fn request(&self, request: &SyncRequest) -> PortResult<Requested> {
        self.store()?.request(request).await
    }

    async fn mark_published(&self, jobs: &[JobId]) -> PortResult<()> {
        self.store()?.mark_published(jobs).await
    }

    async fn published_unleased(&self) -> PortResult<u64> {
        self.store()?.published_unleased().await
    }

    async fn lease(&self, ask: &LeaseAsk) -> PortResult<LeaseAnswer> {
        self.store()?.lease(ask).await
    }

    async fn renew(&self, lease: &LeaseRef, ttl: Duration) -> PortResult<bool> {
        Store::renew(self.store()?, lease, ttl).await
    }

    async fn release(&self, run: RunId) -> PortResult<bool> {
        Store::release(self.store()?, run).await
    }

    async fn baseline(&self, key: ScopeKey) -> PortResult<Baseline> {
        self.store()?.baseline(key).await
    }

    async fn payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, Box<str>)>> {
        self.store()?.payloads(team, data_type, ids).await
    }

    async fn known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, SourceVersion)>> {
        self.store()?.known(team, data_type, ids).await
    }

    async fn archive_work(&self, team: TeamId, limit: u32) -> PortResult<Vec<ArchivedSite>> {
        self.store()?.archive_work(team, limit).await
    }

    async fn stage(&self, lease: &LeaseRef, rows: Vec<Upsert>) -> PortResult<()> {
        self.store()?.stage(lease, rows).await
    }

    async fn apply(&self, apply: &Apply) -> PortResult<Applied> {
        self.store()?.apply(apply).await
    }

    async fn committed(&self, lease: &LeaseRef) -> PortResult<bool> {
        self.store()?.committed(lease).await
    }

    async fn settle(&self, settlement: &Settlement) -> PortResult<Settled> {
        self.store()?.settle(settlement).await
    }

    async fn cancel(&self, team: TeamId, job: JobId, by: &str) -> PortResult<bool> {
        self.store()?.cancel(team, job, by).await
    }

    async fn replay(&self, job: JobId, by: &str) -> PortResult<JobId> {
        self.store()?.replay(job, by).await
    }

    async fn decide_hold(
        &self,
        team: TeamId,
        hold: HoldId,
        release: bool,
        by: &str,
    ) -> PortResult<bool> {
        self.store()?.decide_hold(team, hold, release, by).await
    }

    async fn raw_version_key(&self) -> PortResult<SecretString> {
        self.store()?.raw_version_key().await
    }
}

#[async_trait]
impl Replicas for Line {
    async fn heartbeat(&self, me: &ReplicaInfo, dead_after: Duration) -> PortResult<Fleet> {
        // The sender is ours, so waiting cannot fail.
        let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
        self.store()?.heartbeat(me, dead_after).await
    }

    async fn reap(&self, dead_after: Duration) -> PortResult<Vec<Freed>> {
        self.store()?.reap(dead_after).await
    }

    async fn leave(&self, me: ReplicaId) -> PortResult<()> {
        self.store()?.leave(me).await
    }

    async fn list(&self, dead_after: Duration) -> PortResult<Vec<ReplicaView>> {
        Replicas::list(self.store()?, dead_after).await
    }
}

#[async_trait]
impl Lock for Line {
    async fn acquire(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<Acquired> {
        self.lock()?.acquire(key, owner, ttl).await
    }

    async fn renew(&self, key: ScopeKey, owner: RunId, ttl: Duration) -> PortResult<bool> {
        self.lock()?.renew(key, owner, ttl).await
    }

    async fn release(&self, key: ScopeKey, owner: RunId) -> PortResult<bool> {
        self.lock()?.release(key, owner).await
    }

    async fn take_over(
        &self,
        key: ScopeKey,
        dead: RunId,
        owner: RunId,
        ttl: Duration,
    ) -> PortResult<bool> {
        self.lock()?.take_over(key, dead, owner, ttl).await
    }

    async fn holder(&self, key: ScopeKey) -> PortResult<Option<Holder>> {
        self.lock()?.holder(key).await
    }
}
