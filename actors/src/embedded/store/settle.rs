//! Ends of a run without a commit of data.

use time::OffsetDateTime;

use super::db::{AuthFailure, Tables, WaitReason};
use crate::domain::retry::Sustained;
use crate::domain::{EventNo, Failure, FailureClass, JobState};
use crate::ports::store::{Ending, LeaseRef, Settled, Settlement};
use crate::ports::{PortError, PortResult};

impl Tables {
    pub fn settle(&mut self, settlement: &Settlement, now: OffsetDateTime) -> PortResult<Settled> {
        let lease = &settlement.lease;
        if !self.holds_lease(lease, now) {
            return Ok(Settled::Overtaken);
        }
        let key = lease.key;
        let since =
            self.states.get(&key).and_then(|state| state.lease).map_or(now, |row| row.since);
        let event = match &settlement.ending {
            Ending::Retry { failure, wait } => {
                self.end_lease(lease, false, now);
                if let Some(mut state) = self.states.get_mut(&key) {
                    state.failed(failure, now);
                    state.wait = Some((now + *wait, reason_of(failure)));
                }
                None
            }
            Ending::Postponed { reason, wait } => {
                self.end_lease(lease, true, now);
                if let Some(mut state) = self.states.get_mut(&key) {
                    state.wait = Some((now + *wait, WaitReason::Platform(reason)));
                }
                None
            }
            Ending::HandedBack => {
                self.end_lease(lease, true, now);
                None
            }
            Ending::GaveUp { failure, state: end, wait } => {
                if !matches!(end, JobState::Failed | JobState::Dead) {
                    return Err(PortError::Refused {
                        service: "store",
                        message: format!(
                            "a job that gave up ends as failed or dead, not as {end}: job {}",
                            lease.job
                        ),
                    });
                }
                self.unlease(key);
                let event = self.fail(lease.job, *end, failure, now);
                self.answer_request(key, lease.job, since, now);
                if let Some(mut state) = self.states.get_mut(&key) {
                    state.failed(failure, now);
                    state.wait = Some((now + *wait, reason_of(failure)));
                }
                event
            }
            Ending::AuthRefused { failure, probe_in } => {
                self.refuse_auth(lease, failure, now + *probe_in, since, now)
            }
            Ending::Cancelled { by } => {
                self.unlease(key);
                self.stop(lease, by, since, now)
            }
        };
        if let Some(mut state) = self.states.get_mut(&key) {
            match settlement.sustained {
                Sustained::No => {}
                Sustained::Warn => state.pause_warned_at = Some(now),
                Sustained::Pause => state.paused_at = Some(now),
            }
        }
        Ok(Settled::Done { event })
    }

    fn end_lease(&mut self, lease: &LeaseRef, give_attempt_back: bool, now: OffsetDateTime) {
        self.unlease(lease.key);
        self.requeue(lease.key, give_attempt_back, now);
    }

    /// The team rests from now on; only the transition is told, so a second
    /// run that was in flight ends without an event.
    fn refuse_auth(
        &mut self,
        lease: &LeaseRef,
        failure: &Failure,
        next_probe_at: OffsetDateTime,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Option<EventNo> {
        let key = lease.key;
        let replaced = self
            .team(key.team)
            .and_then(|team| team.key.as_ref())
            .is_none_or(|stored| stored.set_at > since);
        if replaced {
            // What was refused is not the key of now: judge that one by its own run.
            self.end_lease(lease, true, now);
            return None;
        }
        self.unlease(key);
        let team = self.teams.get_mut(&key.team)?;
        let known = team.auth.is_some();
        team.auth = Some(AuthFailure { reason: failure.message.clone(), next_probe_at });
        if let Some(mut state) = self.states.get_mut(&key) {
            state.failed(failure, now);
        }
        if known {
            self.finish(lease.job, JobState::Obsolete, None, now);
            return None;
        }
        let event = self.fail(lease.job, JobState::Failed, failure, now);
        self.answer_request(key, lease.job, since, now);
        event
    }

    /// Cancels a job with its event. The scope's own time stays, so it waits
    /// one delta interval; a person may ask sooner.
    pub fn stop(
        &mut self,
        lease: &LeaseRef,
        by: &str,
        asked_before: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Option<EventNo> {
        let key = lease.key;
        let failure = Failure::new(
            FailureClass::Capability,
            "cancelled",
            format!("job {} of {key} was cancelled by {by}", lease.job),
        );
        let event = self.fail(lease.job, JobState::Cancelled, &failure, now);
        self.answer_request(key, lease.job, asked_before, now);
        if let Some(mut state) = self.states.get_mut(&key) {
            state.dispatched_at = None;
            let until = now + state.intervals.delta;
            if state.request.is_none() && state.waits(until).is_none() {
                state.wait = Some((until, WaitReason::Backoff));
            }
        }
        event
    }
}

/// A wait that the platform asked for is not ours to shorten.
fn reason_of(failure: &Failure) -> WaitReason {
    if failure.class == FailureClass::Throttled || failure.retry_after.is_some() {
        WaitReason::Platform("throttled")
    } else {
        WaitReason::Backoff
    }
}
