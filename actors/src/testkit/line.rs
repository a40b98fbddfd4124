//! A replica's line to its servers, which can be cut: what a dead process or
//! a lost network looks like from the other side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::domain::job::Lane;
use crate::domain::{
    Baseline, DataType, ExternalId, HoldId, JobId, ReplicaId, RunId, ScopeKey, SourceVersion,
    TeamId,
};
use crate::embedded::MemoryStore;
use crate::ports::due_queue::{DueEntry, DueQueue, QueueDepths};
use crate::ports::lock::{Acquired, Holder, Lock};
use crate::ports::replicas::{Fleet, Freed, ReplicaInfo, ReplicaView, Replicas};
use crate::ports::store::{
    Applied, Apply, ArchivedSite, LeaseAnswer, LeaseAsk, LeaseRef, Requested, Settled, Settlement,
    Store, SyncRequest, Upsert,
};
use crate::ports::{PortError, PortResult};

/// The line of one replica; clones share it.
#[derive(Clone)]
pub struct Line {
    store: MemoryStore,
    lock: Arc<dyn Lock>,
    due_queue: Arc<dyn DueQueue>,
    cut: Arc<AtomicBool>,
    queue_cut: Arc<AtomicBool>,
    leases_held: Arc<watch::Sender<bool>>,
}

impl Line {
    /// A line that works.
    pub fn new(store: MemoryStore, lock: Arc<dyn Lock>, due_queue: Arc<dyn DueQueue>) -> Self {
        let leases_held = Arc::new(watch::Sender::new(false));
        Self { store, lock, due_queue, cut: Arc::default(), queue_cut: Arc::default(), leases_held }
    }

    /// Nothing gets through until it is mended.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Only the due queue and the lock, which live on one server, are out of
    /// reach until it is mended.
    pub fn cut_queue(&self) {
        self.queue_cut.store(true, Ordering::Release);
    }

    /// Everything gets through again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::Release);
        self.queue_cut.store(false, Ordering::Release);
    }

    /// Calls for a lease are on their way until they are let through. What was
    /// sent arrives, whether or not the sender still waits for the answer.
    pub fn hold_leases(&self) {
        self.leases_held.send_replace(true);
    }

    /// Lets them arrive.
    pub fn let_leases_through(&self) {
        self.leases_held.send_replace(false);
    }

    fn check(&self, cut: bool, service: &'static str) -> PortResult<()> {
        if cut || self.cut.load(Ordering::Acquire) {
            return Err(PortError::Unavailable { service, message: "the line is cut".to_owned() });
        }
        Ok(())
    }

    fn store(&self) -> PortResult<&MemoryStore> {
        self.check(false, "store").map(|()| &self.store)
    }

    fn lock(&self) -> PortResult<&dyn Lock> {
        self.check(self.queue_cut.load(Ordering::Acquire), "lock").map(|()| &*self.lock)
    }

    fn due_queue(&self) -> PortResult<&dyn DueQueue> {
        self.check(self.queue_cut.load(Ordering::Acquire), "due queue").map(|()| &*self.due_queue)
    }
}

#[async_trait]
impl Store for Line {
    async fn claim(&self, limit: u32, redispatch: Duration) -> PortResult<Vec<DueEntry>> {
        self.store()?.claim(limit, redispatch).await
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
        let mut held = self.leases_held.subscribe();
        if !*held.borrow_and_update() {
            return self.store()?.lease(ask).await;
        }
        let (line, ask) = (self.clone(), ask.clone());
        let sent = tokio::spawn(async move {
            let _ = held.wait_for(|held| !held).await;
            line.store()?.lease(&ask).await
        });
        sent.await.expect("the memory never panics")
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

#[async_trait]
impl DueQueue for Line {
    async fn enqueue(&self, entries: &[DueEntry]) -> PortResult<()> {
        self.due_queue()?.enqueue(entries).await
    }

    async fn pop(&self, lane: Lane, limit: usize, lease: Duration) -> PortResult<Vec<DueEntry>> {
        self.due_queue()?.pop(lane, limit, lease).await
    }

    async fn confirm(&self, keys: &[ScopeKey]) -> PortResult<()> {
        self.due_queue()?.confirm(keys).await
    }

    async fn put_back(&self, keys: &[ScopeKey]) -> PortResult<()> {
        self.due_queue()?.put_back(keys).await
    }

    async fn depths(&self) -> PortResult<QueueDepths> {
        self.due_queue()?.depths().await
    }

    async fn position(&self, key: ScopeKey) -> PortResult<Option<u64>> {
        self.due_queue()?.position(key).await
    }
}
