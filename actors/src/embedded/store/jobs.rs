//! Job rows: queued once, run once, ended once, each end with the event it
//! owes.

use time::OffsetDateTime;

use super::db::{Job, Tables};
use crate::domain::event::Failed;
use crate::domain::{Class, Event, EventBody, EventNo, Failure, JobId, JobState, ScopeKey, TeamId};

impl Tables {
    /// The queued job of a scope, made when there is none; its class only
    /// rises. Answers whether it was there.
    pub fn ensure_queued(
        &mut self,
        key: ScopeKey,
        class: Class,
        by: Option<&str>,
        now: OffsetDateTime,
    ) -> (JobId, bool) {
        if let Some(id) = self.queued.get(&key).copied()
            && let Some(job) = self.jobs.get_mut(&id)
        {
            if class > job.class {
                job.class = class;
                job.requested_by = by.map(ToOwned::to_owned).or(job.requested_by.take());
            }
            return (id, true);
        }
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.jobs.insert(
            id,
            Job {
                key,
                state: JobState::Queued,
                mode: None,
                class,
                requested_by: by.map(ToOwned::to_owned),
                attempt: 0,
                created_at: now,
                started_at: None,
                finished_at: None,
                counts: None,
                error: None,
                satisfied_by: None,
            },
        );
        self.queued.insert(key, id);
        (id, false)
    }

    /// Puts a running job back into the queue. Where another job of the scope
    /// is queued already, that one takes its place.
    pub fn requeue(&mut self, key: ScopeKey, give_attempt_back: bool, now: OffsetDateTime) {
        let Some(id) = self.running.remove(&key) else { return };
        if let Some(successor) = self.queued.get(&key).copied() {
            self.finish(id, JobState::Superseded, Some(successor), now);
            return;
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = JobState::Queued;
            self.published.remove(&id);
            job.started_at = None;
            if give_attempt_back {
                job.attempt = job.attempt.saturating_sub(1);
            }
            self.queued.insert(key, id);
        }
    }

    /// Ends a job in a state that owes no event, or whose event is told apart.
    pub fn finish(
        &mut self,
        id: JobId,
        state: JobState,
        satisfied_by: Option<JobId>,
        now: OffsetDateTime,
    ) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = state;
            job.satisfied_by = satisfied_by;
            job.finished_at = Some(now);
            self.published.remove(&id);
            let key = job.key;
            for index in [&mut self.queued, &mut self.running] {
                if index.get(&key) == Some(&id) {
                    index.remove(&key);
                }
            }
        }
    }

    /// Ends a job badly, with its one `sync.failed`.
    pub fn fail(
        &mut self,
        id: JobId,
        state: JobState,
        failure: &Failure,
        now: OffsetDateTime,
    ) -> Option<EventNo> {
        let key = self.jobs.get(&id)?.key;
        self.finish(id, state, None, now);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.error = Some(failure.clone());
        }
        Some(self.tell(
            key.team,
            EventBody::Failed(Failed {
                job_id: Some(id),
                scope: key.scope,
                state,
                reason: failure.code.clone(),
                message: failure.message.clone(),
            }),
            now,
        ))
    }

    /// Appends to a team's outbox; numbers follow each other without gaps.
    pub fn tell(&mut self, team: TeamId, body: EventBody, now: OffsetDateTime) -> EventNo {
        let outbox = self.outbox.entry(team).or_default();
        outbox.last += 1;
        let no = EventNo(outbox.last);
        let event = Event { team_id: team, no: Some(no), at: now, body };
        outbox.events.insert(no.0, event);
        self.unrelayed.insert((now, team, no.0));
        no
    }

    /// Forgets the request that a run answered for good. What was asked for
    /// after `bound` stands, and so does its queued job; a follow-up whose
    /// request is gone has nothing left to do.
    pub fn answer_request(
        &mut self,
        key: ScopeKey,
        by: JobId,
        bound: OffsetDateTime,
        now: OffsetDateTime,
    ) {
        let Some(mut state) = self.states.get_mut(&key) else { return };
        if state.request.as_ref().is_some_and(|request| request.at > bound) {
            return;
        }
        state.request = None;
        drop(state);
        if let Some(follow_up) = self.queued.get(&key).copied()
            && follow_up != by
        {
            self.finish(follow_up, JobState::Superseded, Some(by), now);
        }
    }

    /// Ends the lease of a scope and lets it be dispatched anew.
    pub fn unlease(&mut self, key: ScopeKey) {
        if let Some(mut state) = self.states.get_mut(&key) {
            if let Some(lease) = state.lease.take() {
                self.staging.remove(&lease.run);
            }
            state.dispatched_at = None;
        }
    }
}
