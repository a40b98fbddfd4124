//! The store in Postgres: the only truth of the pipeline.
//!
//! One file per part of the port. The SQL lives in `../sql`, one statement a
//! file; here is only what decides which of them run, in which transaction.
//! Row locks are taken in one order everywhere: credentials, settings, states,
//! jobs, the mirror, data types, and the team's event counter last, so that
//! the order of commits is the order of event numbers.
//!
//! Absent on purpose: a cache of anything that the database knows.

mod apply;
mod archive;
mod baseline;
mod changes;
mod claim;
mod db;
mod holds;
mod installation;
mod jobs;
mod lease;
mod marks;
mod outbox;
mod people;
mod request;
mod rows;
mod settle;
mod stage;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use vz_sync_actors::domain::{
    Baseline, DataType, ExternalId, HoldId, JobId, RunId, ScopeKey, SourceVersion, TeamId,
};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::due_queue::DueEntry;
use vz_sync_actors::ports::store::{
    Applied, Apply, ArchivedSite, Intervals, LeaseAnswer, LeaseAsk, LeaseRef, Requested, Settled,
    Settlement, Store, SyncRequest, Upsert,
};

pub use self::claim::CLAIM_DUE;
pub use self::outbox::TELL;
use super::error::retrying;
use super::pool::Pools;
use crate::secrets::KeyRing;

/// What the rows leave to configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Intervals of states that have none of their own.
    pub intervals: Intervals,
    /// How long a state waits whose job used up its attempts.
    pub exhausted_wait: Duration,
    /// How long a rejected hold keeps its rows from being held anew.
    pub rejected_for: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            intervals: Intervals::default(),
            exhausted_wait: Duration::from_secs(300),
            rejected_for: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// The store in Postgres.
pub struct PgStore {
    pools: Pools,
    keys: Arc<KeyRing>,
    settings: StoreSettings,
    guard: &'static str,
    staged: stage::StagedRuns,
}

impl PgStore {
    /// A store over these pools; `keys` seal the installation's key.
    pub fn new(pools: Pools, keys: Arc<KeyRing>, settings: StoreSettings) -> Self {
        Self { pools, keys, settings, guard: lease::GUARD, staged: stage::StagedRuns::default() }
    }

    /// The control of the fencing tests: the same store without the guard.
    #[doc(hidden)]
    pub fn unguarded_for_tests(pools: Pools, keys: Arc<KeyRing>, settings: StoreSettings) -> Self {
        Self { guard: lease::UNGUARDED, ..Self::new(pools, keys, settings) }
    }
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for PgStore {
    async fn claim(&self, limit: u32, redispatch: Duration) -> PortResult<Vec<DueEntry>> {
        retrying(|| self.try_claim(limit, redispatch)).await
    }

    async fn request(&self, request: &SyncRequest) -> PortResult<Requested> {
        retrying(|| self.try_request(request)).await
    }

    async fn mark_published(&self, jobs: &[JobId]) -> PortResult<()> {
        retrying(|| self.try_mark_published(jobs)).await
    }

    async fn published_unleased(&self) -> PortResult<u64> {
        retrying(|| self.try_published_unleased()).await
    }

    async fn lease(&self, ask: &LeaseAsk) -> PortResult<LeaseAnswer> {
        retrying(|| self.try_lease(ask)).await
    }

    async fn renew(&self, lease: &LeaseRef, ttl: Duration) -> PortResult<bool> {
        retrying(|| self.try_renew(lease, ttl)).await
    }

    async fn release(&self, run: RunId) -> PortResult<bool> {
        retrying(|| self.try_release(run)).await
    }

    async fn baseline(&self, key: ScopeKey) -> PortResult<Baseline> {
        retrying(|| self.try_baseline(key)).await
    }

    async fn payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, Box<str>)>> {
        retrying(|| self.try_payloads(team, data_type, ids)).await
    }

    async fn known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, SourceVersion)>> {
        retrying(|| self.try_known(team, data_type, ids)).await
    }

    async fn archive_work(&self, team: TeamId, limit: u32) -> PortResult<Vec<ArchivedSite>> {
        retrying(|| self.try_archive_work(team, limit)).await
    }

    async fn stage(&self, lease: &LeaseRef, rows: Vec<Upsert>) -> PortResult<()> {
        let rows = &rows;
        // One place in the order for all tries of this call.
        let place = self.staged.note(lease.run, rows);
        retrying(|| self.try_stage(lease, place, rows)).await
    }

    async fn apply(&self, apply: &Apply) -> PortResult<Applied> {
        let outcome = retrying(|| self.try_apply(apply)).await;
        if outcome.is_ok() {
            self.forget_staged(apply.lease.run);
        }
        outcome
    }

    async fn committed(&self, lease: &LeaseRef) -> PortResult<bool> {
        retrying(|| self.try_committed(lease)).await
    }

    async fn settle(&self, settlement: &Settlement) -> PortResult<Settled> {
        let outcome = retrying(|| self.try_settle(settlement)).await;
        if outcome.is_ok() {
            self.forget_staged(settlement.lease.run);
        }
        outcome
    }

    async fn cancel(&self, team: TeamId, job: JobId, by: &str) -> PortResult<bool> {
        retrying(|| self.try_cancel(team, job, by)).await
    }

    async fn replay(&self, job: JobId, by: &str) -> PortResult<JobId> {
        retrying(|| self.try_replay(job, by)).await
    }

    async fn decide_hold(
        &self,
        team: TeamId,
        hold: HoldId,
        release: bool,
        by: &str,
    ) -> PortResult<bool> {
        retrying(|| self.try_decide_hold(team, hold, release, by)).await
    }

    async fn raw_version_key(&self) -> PortResult<SecretString> {
        retrying(|| self.try_raw_version_key()).await
    }
}
