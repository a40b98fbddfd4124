//! What the scheduler and the dispatcher ask.

use std::cmp::Reverse;
use std::time::Duration;

use time::OffsetDateTime;

use super::db::Tables;
use crate::domain::{JobId, JobState, ScopeKey};
use crate::ports::due_queue::DueEntry;

impl Tables {
    pub fn claim(
        &mut self,
        limit: u32,
        redispatch: Duration,
        now: OffsetDateTime,
    ) -> Vec<DueEntry> {
        let mut found: Vec<_> = self
            .states
            .iter()
            .filter(|(key, state)| self.may_run(**key, state, redispatch, now))
            .map(|(key, state)| (Reverse(state.class()), state.due_at(), *key))
            .collect();
        found.sort_unstable();
        found.truncate(limit as usize);
        found.into_iter().map(|(_, deadline, key)| self.dispatch(key, deadline, now)).collect()
    }

    fn dispatch(
        &mut self,
        key: ScopeKey,
        deadline: OffsetDateTime,
        now: OffsetDateTime,
    ) -> DueEntry {
        // A lease that ran out left its job running.
        self.unlease(key);
        self.requeue(key, false, now);
        let (mut class, mut by, mut trace_parent) = (crate::domain::Class::Schedule, None, None);
        if let Some(state) = self.states.get_mut(&key) {
            state.dispatched_at = Some(now);
            class = state.class();
            if let Some(request) = &state.request {
                by = Some(request.by.clone());
                trace_parent.clone_from(&request.trace_parent);
            }
        }
        let (job, _) = self.ensure_queued(key, class, by.as_deref(), now);
        // What was published and not leased in time is taken for lost.
        self.off_the_bus(job);
        DueEntry { key, job, class, deadline, trace_parent }
    }

    pub fn mark_published(&mut self, jobs: &[JobId], now: OffsetDateTime) {
        for id in jobs {
            if let Some(job) = self.jobs.get_mut(id)
                && job.state == JobState::Queued
            {
                job.published_at = Some(now);
            }
        }
    }

    pub fn published_unleased(&self) -> u64 {
        let published =
            |id: &&JobId| self.jobs.get(*id).is_some_and(|job| job.published_at.is_some());
        self.queued.values().filter(published).count() as u64
    }
}
