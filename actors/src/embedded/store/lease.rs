//! The real lock: fence, lease and job move together.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::db::{LeaseRow, State, Tables, WaitReason};
use crate::domain::cadence::choose_mode;
use crate::domain::{
    Failure, FailureClass, Fence, JobId, JobState, Mode, ReplicaId, RunId, ScopeKey,
};
use crate::ports::store::{Lease, LeaseAnswer, LeaseAsk, LeaseRef, Resting};

/// How long a state waits whose job used up its attempts: the cap of our own
/// backoff.
const EXHAUSTED_WAIT: Duration = Duration::from_mins(5);

impl Tables {
    pub fn lease(&mut self, ask: &LeaseAsk, asked_at: Instant, now: OffsetDateTime) -> LeaseAnswer {
        let key = ask.key;
        if self.queued.get(&key) != Some(&ask.job) {
            return LeaseAnswer::NotQueued;
        }
        if let Some(resting) = self.scope_resting(key) {
            self.drop_obsolete(key, ask.job, now);
            return LeaseAnswer::Resting(resting);
        }
        let Some(state) = self.states.get(&key) else {
            self.drop_obsolete(key, ask.job, now);
            return LeaseAnswer::Resting(Resting::OutOfRollout);
        };
        if let Some(live) = state.lease_at(now).filter(|l| self.alive(l.owner, ask.dead_after, now))
        {
            self.put_off(key, now + ask.collision_delay, WaitReason::Collision);
            return LeaseAnswer::Busy { holder: live.run };
        }
        if let Some(not_before) = state.waits(now) {
            self.off_the_bus(key);
            return LeaseAnswer::Later { not_before };
        }
        let Some(mode) = chosen_mode(state, now) else {
            self.drop_obsolete(key, ask.job, now);
            return LeaseAnswer::Fresh;
        };
        let attempts = self.jobs.get(&ask.job).map_or(0, |job| job.attempt);
        if attempts >= ask.max_attempts {
            self.exhaust(key, ask.job, attempts, now);
            return LeaseAnswer::Exhausted { attempts };
        }
        self.unlease_dead(key, now);
        self.grant(ask, mode, asked_at, now)
            .map_or(LeaseAnswer::NotQueued, |lease| LeaseAnswer::Granted(Box::new(lease)))
    }

    fn grant(
        &mut self,
        ask: &LeaseAsk,
        mode: Mode,
        asked_at: Instant,
        now: OffsetDateTime,
    ) -> Option<Lease> {
        let key = ask.key;
        let owner_uid = self.team(key.team)?.owner_uid;
        let mut state = self.states.get_mut(&key)?;
        let job = self.jobs.get_mut(&ask.job)?;
        state.fence = Fence(state.fence.0 + 1);
        state.wait = None;
        state.lease = Some(LeaseRow {
            owner: ask.replica,
            run: ask.run,
            job: ask.job,
            since: now,
            until: now + ask.ttl,
        });
        job.state = JobState::Running;
        job.attempt += 1;
        job.mode = Some(mode);
        job.started_at = Some(now);
        self.published.remove(&ask.job);
        self.queued.remove(&key);
        self.running.insert(key, ask.job);
        let request = state.request.clone();
        Some(Lease {
            name: LeaseRef { key, job: ask.job, run: ask.run, fence: state.fence },
            mode,
            class: job.class,
            attempt: job.attempt,
            requested_at: request.as_ref().map(|request| request.at),
            asked: request.as_ref().and_then(|request| request.mode),
            environments: request.as_ref().map(|r| r.environments.clone()).unwrap_or_default(),
            failures: state.failures,
            failing_since: state.failing_since,
            last_full_at: state.last_full_at,
            due: state.due,
            cursor: state.cursor.clone(),
            intervals: state.intervals,
            platform: state.platform,
            owner_uid,
            expected: state.expected,
            dispatched_at: state.dispatched_at,
            database_now: now,
            asked_at,
            trace_parent: request.and_then(|request| request.trace_parent),
        })
    }

    pub fn alive(&self, owner: ReplicaId, dead_after: Duration, now: OffsetDateTime) -> bool {
        self.replicas.get(&owner).is_some_and(|replica| replica.heartbeat_at + dead_after > now)
    }

    /// A lease that is no longer live: its run lost, its job is replaced by
    /// the one that is queued.
    fn unlease_dead(&mut self, key: ScopeKey, now: OffsetDateTime) {
        let dispatched_at = self.states.get(&key).and_then(|state| state.dispatched_at);
        self.unlease(key);
        self.requeue(key, false, now);
        if let Some(mut state) = self.states.get_mut(&key) {
            state.dispatched_at = dispatched_at;
        }
    }

    fn drop_obsolete(&mut self, key: ScopeKey, job: JobId, now: OffsetDateTime) {
        let instead = self
            .jobs
            .iter()
            .rev()
            .find(|(_, other)| other.key == key && other.state == JobState::Succeeded)
            .map(|(id, _)| *id);
        self.finish(job, JobState::Obsolete, instead, now);
        if let Some(mut state) = self.states.get_mut(&key) {
            state.dispatched_at = None;
        }
    }

    /// The state waits at least so long; its job stays queued, off the bus.
    pub fn put_off(&mut self, key: ScopeKey, until: OffsetDateTime, reason: WaitReason) {
        if let Some(mut state) = self.states.get_mut(&key)
            && state.wait.is_none_or(|(at, _)| at < until)
        {
            state.wait = Some((until, reason));
        }
        self.off_the_bus(key);
    }

    fn off_the_bus(&mut self, key: ScopeKey) {
        if let Some(mut state) = self.states.get_mut(&key) {
            state.dispatched_at = None;
        }
        if let Some(job) = self.queued.get(&key) {
            self.published.remove(job);
        }
    }

    fn exhaust(&mut self, key: ScopeKey, job: JobId, attempts: u32, now: OffsetDateTime) {
        let failure = Failure::new(
            FailureClass::Internal,
            "attempts_exhausted",
            format!(
                "job {job} of {key} ended {attempts} times without an answer; replay it when the cause is found"
            ),
        );
        self.fail(job, JobState::Dead, &failure, now);
        if let Some(mut state) = self.states.get_mut(&key) {
            state.failed(&failure, now);
            state.request = None;
            state.dispatched_at = None;
            state.wait = Some((now + EXHAUSTED_WAIT, WaitReason::Backoff));
        }
    }

    pub fn renew(&mut self, lease: &LeaseRef, ttl: Duration, now: OffsetDateTime) -> bool {
        if !self.holds_lease(lease, now) {
            return false;
        }
        if let Some(mut state) = self.states.get_mut(&lease.key)
            && let Some(row) = &mut state.lease
        {
            row.until = now + ttl;
        }
        true
    }

    /// The guard of every write of a run: its fence is the newest, its lease
    /// still lasts.
    pub fn holds_lease(&self, lease: &LeaseRef, now: OffsetDateTime) -> bool {
        self.guard_off
            || self.states.get(&lease.key).is_some_and(|state| {
                state.fence == lease.fence
                    && state
                        .lease_at(now)
                        .is_some_and(|row| row.run == lease.run && row.job == lease.job)
            })
    }

    /// The scope that a run has leased, whether or not the lease still lasts.
    pub fn leased_by(&self, run: RunId) -> Option<ScopeKey> {
        self.states
            .iter()
            .find(|(_, state)| state.lease.is_some_and(|lease| lease.run == run))
            .map(|(key, _)| *key)
    }

    pub fn release(&mut self, run: RunId, now: OffsetDateTime) -> bool {
        let Some(key) = self.leased_by(run) else { return false };
        self.unlease(key);
        self.requeue(key, false, now);
        true
    }
}

/// A wish without a mode lets the run choose: at least a delta.
fn chosen_mode(state: &State, now: OffsetDateTime) -> Option<Mode> {
    let asked = state.request.as_ref().map(|request| request.mode.unwrap_or(Mode::Delta));
    choose_mode(now, &state.due, asked, state.last_full_at)
}
