//! The store in memory: every store-side port over one set of tables.
//!
//! One mutex is the transaction. Nothing survives the process; what must, is
//! kept by Postgres, whose adapter sits the same exams.

mod account;
mod apply;
mod apply_rows;
mod baseline;
mod claim;
mod credentials;
mod db;
mod facts;
mod holds;
mod items;
mod jobs;
mod lease;
mod outbox;
mod people;
mod platforms;
mod reads;
mod replicas;
mod request;
mod settle;
mod states;
mod status;
mod teams;
mod upkeep;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::time::Instant;

pub use db::StoreDefaults;
use db::Tables;

use super::locked;
use crate::domain::{
    Baseline, DataType, ExternalId, HoldId, JobId, RunId, ScopeKey, SourceVersion, TeamId,
};
use crate::ports::clock::Clock;
use crate::ports::due_queue::DueEntry;
use crate::ports::entropy::Entropy;
use crate::ports::store::{
    Applied, Apply, ArchivedSite, ClaimAsk, LeaseAnswer, LeaseAsk, LeaseRef, Requested, Settled,
    Settlement, Store, SyncRequest, Upsert,
};
use crate::ports::{PortError, PortResult};

/// The store of one installation; clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl MemoryStore {
    /// An empty store whose database time is `clock`'s.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, defaults: StoreDefaults) -> Self {
        let tables = Tables { defaults, ..Tables::default() };
        Self { tables: Arc::new(Mutex::new(tables)), clock, entropy }
    }

    /// Switches the guard of guarded writes off: the control that shows that
    /// an exam about fencing can fail.
    #[cfg(feature = "testkit")]
    pub fn without_guard(self) -> Self {
        self.tables().guard_off = true;
        self
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        locked(&self.tables)
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.wall()
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn claim(&self, ask: &ClaimAsk) -> PortResult<Vec<DueEntry>> {
        Ok(self.tables().claim(ask, self.now()))
    }

    async fn request(&self, request: &SyncRequest) -> PortResult<Requested> {
        Ok(self.tables().request(request, self.now()))
    }

    async fn mark_published(&self, jobs: &[JobId]) -> PortResult<()> {
        self.tables().mark_published(jobs);
        Ok(())
    }

    async fn published_unleased(&self) -> PortResult<u64> {
        Ok(self.tables().published.len() as u64)
    }

    async fn lease(&self, ask: &LeaseAsk) -> PortResult<LeaseAnswer> {
        Ok(self.tables().lease(ask, Instant::now(), self.now()))
    }

    async fn renew(&self, lease: &LeaseRef, ttl: Duration) -> PortResult<bool> {
        Ok(self.tables().renew(lease, ttl, self.now()))
    }

    async fn release(&self, run: RunId) -> PortResult<bool> {
        Ok(self.tables().release(run, self.now()))
    }

    async fn baseline(&self, key: ScopeKey) -> PortResult<Baseline> {
        Ok(self.tables().baseline(key))
    }

    async fn payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, Box<str>)>> {
        Ok(self.tables().payloads(team, data_type, ids))
    }

    async fn known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, SourceVersion)>> {
        Ok(self.tables().known(team, data_type, ids))
    }

    async fn archive_work(&self, team: TeamId, limit: u32) -> PortResult<Vec<ArchivedSite>> {
        Ok(self.tables().archive_work(team, limit))
    }

    async fn stage(&self, lease: &LeaseRef, rows: Vec<Upsert>) -> PortResult<()> {
        self.tables().stage(lease.run, rows);
        Ok(())
    }

    async fn apply(&self, apply: &Apply) -> PortResult<Applied> {
        Ok(self.tables().apply(apply, self.now()))
    }

    async fn committed(&self, lease: &LeaseRef) -> PortResult<bool> {
        let tables = self.tables();
        let last = tables.states.get(&lease.key).and_then(|state| state.committed);
        Ok(last == Some((lease.fence, lease.run)))
    }

    async fn settle(&self, settlement: &Settlement) -> PortResult<Settled> {
        self.tables().settle(settlement, self.now())
    }

    async fn cancel(&self, team: TeamId, job: JobId, by: &str) -> PortResult<bool> {
        Ok(self.tables().cancel(team, job, by, self.now()))
    }

    async fn replay(&self, job: JobId, by: &str) -> PortResult<JobId> {
        self.tables().replay(job, by, self.now())
    }

    async fn decide_hold(
        &self,
        team: TeamId,
        hold: HoldId,
        release: bool,
        by: &str,
    ) -> PortResult<bool> {
        Ok(self.tables().decide_hold(team, hold, release, by, self.now()))
    }

    async fn raw_version_key(&self) -> PortResult<SecretString> {
        let mut tables = self.tables();
        let make = || SecretString::from(format!("{}{}", self.entropy.uuid(), self.entropy.uuid()));
        Ok(tables.raw_version_key.get_or_insert_with(make).clone())
    }
}

fn no_team(team: TeamId) -> PortError {
    PortError::NotFound(format!("team {team}"))
}
