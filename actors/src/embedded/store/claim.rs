//! What the scheduler and the dispatcher ask.

use std::cmp::Reverse;
use std::time::Duration;

use time::OffsetDateTime;

use super::db::Tables;
use super::states::Kind;
use crate::domain::job::Lane;
use crate::domain::{Class, JobId, JobState, ScopeKey};
use crate::ports::due_queue::DueEntry;
use crate::ports::store::ClaimAsk;

/// Requests that a claim looks at: the longest due, among which the most
/// urgent go first.
const WINDOW: usize = 1000;

/// What may be claimed, sorted by what goes first.
type Candidate = (Reverse<Class>, OffsetDateTime, ScopeKey);

impl Tables {
    pub fn claim(&mut self, ask: &ClaimAsk, now: OffsetDateTime) -> Vec<DueEntry> {
        let limit = ask.limit as usize;
        let (normal, low) = (limit.min(ask.room.normal as usize), limit.min(ask.room.low as usize));
        let put_off = self.claimable(Kind::PutOff, limit.min(normal + low), now);
        let (mut lows, mut found): (Vec<_>, Vec<_>) =
            put_off.into_iter().partition(|(Reverse(class), ..)| class.lane() == Lane::Low);
        found.extend(self.claimable(Kind::Schedule, normal, now));
        lows.extend(self.claimable(Kind::Backfill, low, now));
        for (lane, room) in [(&mut found, normal), (&mut lows, low)] {
            lane.sort_unstable();
            lane.truncate(room);
        }
        found.append(&mut lows);
        found.extend(self.claimable(Kind::Requested, limit.max(WINDOW), now));
        found.sort_unstable();
        found.truncate(limit);
        found
            .into_iter()
            .map(|(_, deadline, key)| self.dispatch(key, deadline, ask.redispatch, now))
            .collect()
    }

    fn claimable(&self, kind: Kind, most: usize, now: OffsetDateTime) -> Vec<Candidate> {
        let due = self.states.due(kind, now);
        due.filter(|(key, state)| self.may_run(*key, state, now))
            .take(most)
            .map(|(key, state)| (Reverse(state.class()), state.due_at(), key))
            .collect()
    }

    fn dispatch(
        &mut self,
        key: ScopeKey,
        deadline: OffsetDateTime,
        redispatch: Duration,
        now: OffsetDateTime,
    ) -> DueEntry {
        // A lease that ran out left its job running.
        self.unlease(key);
        self.requeue(key, false, now);
        let (mut class, mut by, mut trace_parent) = (Class::Schedule, None, None);
        if let Some(mut state) = self.states.get_mut(&key) {
            state.dispatched_at = Some(now);
            state.redispatch = redispatch;
            class = state.class();
            if let Some(request) = &state.request {
                by = Some(request.by.clone());
                trace_parent.clone_from(&request.trace_parent);
            }
        }
        let (job, _) = self.ensure_queued(key, class, by.as_deref(), now);
        // What was published before was lost: the queue has it again.
        self.published.remove(&job);
        DueEntry { key, job, class, deadline, trace_parent }
    }

    pub fn mark_published(&mut self, jobs: &[JobId]) {
        let queued =
            |id: &&JobId| self.jobs.get(*id).is_some_and(|job| job.state == JobState::Queued);
        self.published.extend(jobs.iter().filter(queued));
    }
}
