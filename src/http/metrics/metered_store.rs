//! A store that counts what it commits.
//!
//! Wrapping the port keeps counting out of the engine and exact: whatever
//! commits, was leased or was settled through this replica is counted here,
//! once, after the store has said yes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;
use vz_sync_actors::domain::{
    Baseline, DataType, ExternalId, HoldId, JobId, RunId, ScopeKey, SourceVersion, TeamId,
};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::due_queue::DueEntry;
use vz_sync_actors::ports::store::{
    Applied, Apply, ArchivedSite, ClaimAsk, Ending, LeaseAnswer, LeaseAsk, LeaseRef, Requested,
    Settled, Settlement, Store, SyncRequest, Upsert, UpsertKind, Upserts,
};

use super::Metrics;

/// Runs whose end never came through here are forgotten after this long.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// The map of runs is swept once it has grown to this.
const SWEEP_AT: usize = 1024;

/// Counts in front of a store.
pub struct MeteredStore {
    inner: Arc<dyn Store>,
    metrics: Metrics,
    runs: Mutex<HashMap<RunId, Run>>,
}

struct Run {
    since: Instant,
    staged: HashMap<(DataType, &'static str), u64>,
}

impl Run {
    fn new() -> Self {
        Self { since: Instant::now(), staged: HashMap::new() }
    }
}

impl MeteredStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { inner, metrics, runs: Mutex::default() }
    }

    fn with_runs<T>(&self, act: impl FnOnce(&mut HashMap<RunId, Run>) -> T) -> T {
        act(&mut self.runs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, run: RunId) {
        self.with_runs(|runs| {
            if runs.len() >= SWEEP_AT {
                runs.retain(|_, run| run.since.elapsed() < FORGOTTEN);
            }
            runs.insert(run, Run::new());
        });
    }

    fn end(&self, lease: &LeaseRef) -> Option<Run> {
        let run = self.with_runs(|runs| runs.remove(&lease.run))?;
        let seconds = run.since.elapsed().as_secs_f64();
        self.metrics.duration.with_label_values(&[lease.key.scope.as_str()]).observe(seconds);
        Some(run)
    }

    fn job(&self, state: &str, reason: &str) {
        self.metrics.jobs.with_label_values(&[state, reason]).inc();
    }

    fn event(&self, kind: &str) {
        self.metrics.events.with_label_values(&[kind]).inc();
    }

    fn rows(&self, data_type: DataType, change: &str, count: u64) {
        if count > 0 {
            let labels = [data_type.as_str(), change];
            self.metrics.rows.with_label_values(&labels).inc_by(count);
        }
    }

    fn committed(&self, apply: &Apply, holds: usize) {
        let run = self.end(&apply.lease);
        let reason = apply.doubt.as_ref().map_or(apply.mode.as_str(), |_| "partial");
        self.job("succeeded", reason);
        self.event("sync.completed");
        for _ in 0..holds {
            self.event("removals.held");
        }
        for ((data_type, change), count) in run.map(|run| run.staged).unwrap_or_default() {
            self.rows(data_type, change, count);
        }
        for table in &apply.tables {
            if let Upserts::Inline(upserts) = &table.upserts {
                for upsert in upserts {
                    self.rows(table.data_type, word(upsert.kind), 1);
                }
            }
            self.rows(table.data_type, "missing", table.missing.len() as u64);
            self.rows(table.data_type, "stale", table.stale.len() as u64);
        }
    }

    fn settled(&self, settlement: &Settlement, event: bool) {
        self.end(&settlement.lease);
        match &settlement.ending {
            Ending::Retry { failure, .. } => self.job("retried", failure.class.as_str()),
            Ending::Postponed { reason, .. } => self.job("postponed", reason),
            Ending::GaveUp { failure, state, .. } => {
                self.job(state.as_str(), failure.class.as_str());
            }
            Ending::AuthRefused { .. } => {
                self.job("failed", "auth");
                self.metrics.auth_violations.with_label_values(&["platform_key"]).inc();
            }
            Ending::Cancelled { .. } => self.job("cancelled", "operator"),
            Ending::HandedBack => self.job("handed_back", "shutdown"),
        }
        if event {
            self.event("sync.failed");
        }
    }
}

fn word(kind: UpsertKind) -> &'static str {
    match kind {
        UpsertKind::Insert => "inserted",
        UpsertKind::Update => "updated",
        UpsertKind::Return => "returned",
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn claim(&self, ask: &ClaimAsk) -> PortResult<Vec<DueEntry>> {
        self.inner.claim(ask).await
    }

    async fn request(&self, request: &SyncRequest) -> PortResult<Requested> {
        self.inner.request(request).await
    }

    async fn mark_published(&self, jobs: &[JobId]) -> PortResult<()> {
        self.inner.mark_published(jobs).await
    }

    async fn published_unleased(&self) -> PortResult<u64> {
        self.inner.published_unleased().await
    }

    async fn lease(&self, ask: &LeaseAsk) -> PortResult<LeaseAnswer> {
        let answer = self.inner.lease(ask).await?;
        match &answer {
            LeaseAnswer::Granted(_) => self.begin(ask.run),
            LeaseAnswer::Fresh => self.job("obsolete", "fresh"),
            LeaseAnswer::Resting(_) => self.job("obsolete", "resting"),
            LeaseAnswer::Exhausted { .. } => {
                self.job("dead", "exhausted");
                self.event("sync.failed");
            }
            LeaseAnswer::Busy { .. } => self.job("postponed", "locked"),
            LeaseAnswer::NotQueued | LeaseAnswer::Later { .. } => {}
        }
        Ok(answer)
    }

    async fn renew(&self, lease: &LeaseRef, ttl: Duration) -> PortResult<bool> {
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, run: RunId) -> PortResult<bool> {
        let released = self.inner.release(run).await?;
        self.with_runs(|runs| runs.remove(&run));
        if released {
            self.job("released", "unsettled");
        }
        Ok(released)
    }

    async fn baseline(&self, key: ScopeKey) -> PortResult<Baseline> {
        self.inner.baseline(key).await
    }

    async fn payloads(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, Box<str>)>> {
        self.inner.payloads(team, data_type, ids).await
    }

    async fn known(
        &self,
        team: TeamId,
        data_type: DataType,
        ids: &[ExternalId],
    ) -> PortResult<Vec<(ExternalId, SourceVersion)>> {
        self.inner.known(team, data_type, ids).await
    }

    async fn archive_work(&self, team: TeamId, limit: u32) -> PortResult<Vec<ArchivedSite>> {
        self.inner.archive_work(team, limit).await
    }

    async fn stage(&self, lease: &LeaseRef, rows: Vec<Upsert>) -> PortResult<()> {
        let mut counts: HashMap<(DataType, &'static str), u64> = HashMap::new();
        for row in &rows {
            *counts.entry((row.item.data_type(), word(row.kind))).or_default() += 1;
        }
        self.inner.stage(lease, rows).await?;
        self.with_runs(|runs| {
            let staged = &mut runs.entry(lease.run).or_insert_with(Run::new).staged;
            for (key, count) in counts {
                *staged.entry(key).or_default() += count;
            }
        });
        Ok(())
    }

    async fn apply(&self, apply: &Apply) -> PortResult<Applied> {
        let applied = self.inner.apply(apply).await?;
        if let Applied::Committed { held, .. } = &applied {
            self.committed(apply, held.len());
        }
        Ok(applied)
    }

    async fn committed(&self, lease: &LeaseRef) -> PortResult<bool> {
        let committed = self.inner.committed(lease).await?;
        // The answer to the commit was lost, so only the fact is known.
        if committed && self.end(lease).is_some() {
            self.job("succeeded", "looked_up");
            self.event("sync.completed");
        }
        Ok(committed)
    }

    async fn settle(&self, settlement: &Settlement) -> PortResult<Settled> {
        let settled = self.inner.settle(settlement).await?;
        if let Settled::Done { event } = &settled {
            self.settled(settlement, event.is_some());
        }
        Ok(settled)
    }

    async fn cancel(&self, team: TeamId, job: JobId, by: &str) -> PortResult<bool> {
        self.inner.cancel(team, job, by).await
    }

    async fn replay(&self, job: JobId, by: &str) -> PortResult<JobId> {
        self.inner.replay(job, by).await
    }

    async fn decide_hold(
        &self,
        team: TeamId,
        hold: HoldId,
        release: bool,
        by: &str,
    ) -> PortResult<bool> {
        self.inner.decide_hold(team, hold, release, by).await
    }

    async fn raw_version_key(&self) -> PortResult<SecretString> {
        self.inner.raw_version_key().await
    }
}
