//! The commit of a run: everything or nothing, under the guard.

use time::OffsetDateTime;
use tokio::time::Instant;

use super::db::{Tables, WaitReason};
use crate::domain::event::{Completed, RemovalsHeld};
use crate::domain::{Completeness, DataType, EventBody, EventNo, HoldId, JobState, Mode, ScopeKey};
use crate::ports::store::{Applied, Apply};

/// What the parts of one commit share.
pub(super) struct Commit<'a> {
    pub apply: &'a Apply,
    pub now: OffsetDateTime,
    /// Database time at which the listing's request was sent.
    pub sent: OffsetDateTime,
    /// Number of the `sync.completed` to come; only this commit can take it.
    pub event: EventNo,
}

impl Tables {
    pub fn apply(&mut self, apply: &Apply, now: OffsetDateTime) -> Applied {
        let lease = apply.lease;
        let key = lease.key;
        if !self.holds_lease(&lease, now) {
            self.staging.remove(&lease.run);
            return Applied::Overtaken;
        }
        let sent = now - Instant::now().saturating_duration_since(apply.sent_at);
        let event = EventNo(self.outbox.entry(key.team).or_default().last + 1);
        let commit = Commit { apply, now, sent, event };

        for table in &apply.tables {
            self.apply_table(&commit, table);
        }
        self.annotate(&commit);
        self.keep_body(&commit);
        self.tell_completed(&commit);
        let held = self.apply_holds(&commit);
        self.advance(&commit);
        if let Some(scope) = apply.wake {
            self.wake(ScopeKey::new(key.team, scope), now);
        }
        Applied::Committed { event, held, runnable_again: self.runnable(key, now) }
    }

    /// The byte-equal shortcut is good only while no other commit wrote rows.
    fn keep_body(&mut self, commit: &Commit<'_>) {
        let Apply { lease, body, counts, completeness, .. } = commit.apply;
        let entry = self.verified.entry((lease.key.team, primary(lease.key))).or_default();
        if completeness.is_complete() && body.is_some() {
            entry.body = *body;
        } else if counts.changed() + counts.returned + counts.quarantined > 0 {
            entry.body = None;
        }
    }

    fn tell_completed(&mut self, commit: &Commit<'_>) {
        let Apply { lease, mode, completeness, counts, changed, truncated, tables, .. } =
            commit.apply;
        let verified = tables.iter().any(|table| table.verified);
        let body = EventBody::Completed(Completed {
            job_id: lease.job,
            scope: lease.key.scope,
            mode: *mode,
            verified_at: verified.then_some(commit.sent),
            partial: match completeness {
                Completeness::Complete => None,
                Completeness::Partial(reason) => Some(reason.code().to_owned()),
            },
            counts: *counts,
            changed: changed.clone(),
            truncated: *truncated,
        });
        self.tell(lease.key.team, body, commit.now);
    }

    /// Job, request and state after a commit.
    fn advance(&mut self, commit: &Commit<'_>) {
        let (apply, now) = (commit.apply, commit.now);
        let key = apply.lease.key;
        let since =
            self.states.get(&key).and_then(|state| state.lease).map_or(now, |row| row.since);
        self.unlease(key);
        self.finish(apply.lease.job, JobState::Succeeded, None, now);
        if let Some(job) = self.jobs.get_mut(&apply.lease.job) {
            job.counts = Some(apply.counts);
            job.mode = Some(apply.mode);
        }
        if apply.doubt.is_none() {
            let bound = self.answered_until(commit, since);
            self.answer_request(key, apply.lease.job, bound, now);
        }
        let Some(mut state) = self.states.get_mut(&key) else { return };
        state.committed = Some((apply.lease.fence, apply.lease.run));
        state.due = apply.due;
        state.last_success_at = Some(now);
        state.last_mode = Some(apply.mode);
        if apply.cursor.is_some() {
            state.cursor.clone_from(&apply.cursor);
        }
        if let Some(doubt) = &apply.doubt {
            state.failed(&doubt.failure, now);
            state.wait = Some((now + doubt.wait, WaitReason::Partial));
            return;
        }
        state.failures = 0;
        state.failing_since = None;
        state.pause_warned_at = None;
        state.last_error = None;
        state.wait = None;
        if apply.mode == Mode::Full && apply.completeness.is_complete() {
            state.last_full_at = Some(now);
            state.expected = Some(apply.counts.listed);
        }
    }

    /// Requests up to this moment got what they asked for: those made before
    /// the listing was sent, unless they came after the lease and asked for
    /// more than the run had set out to do.
    fn answered_until(&self, commit: &Commit<'_>, since: OffsetDateTime) -> OffsetDateTime {
        let request = self.states.get(&commit.apply.lease.key).and_then(|s| s.request.as_ref());
        let asked_for_more = request.is_some_and(|request| {
            request.at > since
                && commit.apply.mode == Mode::Delta
                && (request.mode == Some(Mode::Full) || !request.environments.is_empty())
        });
        if asked_for_more { since } else { commit.sent.max(since) }
    }

    pub fn tell_held(&mut self, commit: &Commit<'_>, id: HoldId) {
        let Some(hold) = self.holds.get(&id) else { return };
        let body = EventBody::RemovalsHeld(RemovalsHeld {
            hold_id: id,
            job_id: commit.apply.lease.job,
            data_type: hold.data_type,
            count: hold.items.len() as u64,
            of: hold.of,
            reason: hold.reason.clone(),
        });
        self.tell(commit.apply.lease.key.team, body, commit.now);
    }
}

/// The table whose `verified` row keeps the body hash of a scope.
pub(super) fn primary(key: ScopeKey) -> DataType {
    key.scope.data_types()[0]
}
