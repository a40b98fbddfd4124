//! The ends of an attempt without a commit: no lease, or a failure and what it
//! means for job and state; said in the log and settled in the store.
//!
//! Absent on purpose: the policy itself, which is `domain::retry`.

use std::time::Duration;

use tracing::{error, info, warn};

use super::run::{RunEnd, STORE_PAUSE, STORE_TRIES};
use super::tell;
use crate::domain::retry::{self, Action, Standing, Sustained};
use crate::domain::{Failure, JobId, ScopeKey};
use crate::parts::Parts;
use crate::ports::job_bus::JobMessage;
use crate::ports::signals::Signal;
use crate::ports::store::{Ending, Lease, LeaseAnswer, Settled, Settlement};

/// What follows the work.
pub(super) enum Stop {
    /// The apply ended the run, or it was overtaken.
    Worked(RunEnd),
    /// The job must be settled.
    Settle(Ending, Sustained, RunEnd),
}

/// What it means that no lease was granted; the store has acted on it.
pub(super) fn not_leased(message: &JobMessage, answer: &LeaseAnswer) -> RunEnd {
    let (key, job) = (message.key, message.job);
    let (team_id, scope, job_id) = (key.team.0, key.scope.as_str(), job.0);
    match answer {
        LeaseAnswer::Busy { .. } => {
            info!(
                event = "vz_sync_skip_locked",
                team_id, scope, job_id, "another run has the lease"
            );
            RunEnd::NotLeased("busy")
        }
        LeaseAnswer::Exhausted { attempts, sustained } => {
            let reason = "attempts_exhausted";
            error!(
                event = "vz_sync_job_failed",
                team_id,
                scope,
                job_id,
                attempt = attempts,
                reason,
                "job is dead"
            );
            tell_pause(key, job, *sustained, reason);
            RunEnd::GaveUp(reason.into())
        }
        LeaseAnswer::Parked(_) => RunEnd::NotLeased("parked"),
        LeaseAnswer::NotQueued => RunEnd::NotLeased("not_queued"),
        LeaseAnswer::Fresh => RunEnd::NotLeased("fresh"),
        LeaseAnswer::Later { .. } => RunEnd::NotLeased("later"),
        LeaseAnswer::Resting(_) => RunEnd::NotLeased("resting"),
        LeaseAnswer::Granted(_) => RunEnd::Undecided,
    }
}

/// What a failure means for job and state.
pub(super) fn verdict(parts: &Parts, lease: &Lease, failure: Failure) -> Stop {
    let standing = Standing {
        attempt: lease.attempt,
        failures: lease.failures,
        failing_since: lease.failing_since,
        now: lease.database_now + lease.asked_at.elapsed(),
        random: parts.ports.entropy.fraction(),
    };
    let verdict = retry::after_failure(&parts.settings.retry, &failure, &standing);
    tell::failed(lease, &failure, verdict.action);
    let code = failure.code.clone();
    let (ending, end) = match verdict.action {
        Action::Retry { wait } => (Ending::Retry { failure, wait }, RunEnd::Retried(code)),
        Action::Postpone { reason, wait } => {
            (Ending::Postponed { reason, wait }, RunEnd::Postponed(code))
        }
        Action::GiveUp { state, wait } => {
            (Ending::GaveUp { failure, state, wait }, RunEnd::GaveUp(code))
        }
        Action::RefuseKey { probe_in } => {
            (Ending::AuthRefused { failure, probe_in }, RunEnd::GaveUp(code))
        }
    };
    Stop::Settle(ending, verdict.sustained, end)
}

/// Says once that a scope is near to being paused over failing for long, and
/// that it is paused.
pub(super) fn tell_sustained(lease: &Lease, failure: &Failure, sustained: Sustained) {
    let news = sustained.news(lease.pause_warned);
    tell_pause(lease.name.key, lease.name.job, news, &failure.code);
}

fn tell_pause(key: ScopeKey, job: JobId, news: Sustained, reason: &str) {
    let (team_id, scope, job_id) = (key.team.0, key.scope.as_str(), job.0);
    match news {
        Sustained::No => {}
        Sustained::Warn => {
            warn!(
                event = "vz_sync_scope_pause_near",
                team_id,
                scope,
                job_id,
                reason,
                "the scope has failed for days and will be paused if that goes on"
            );
        }
        Sustained::Pause => {
            error!(
                event = "vz_sync_scope_paused",
                team_id,
                scope,
                job_id,
                reason,
                "the scope has failed for too long: it is paused until somebody resumes the team"
            );
        }
    }
}

/// Settles, several times if need be; `false` when the guard must release.
pub(super) async fn settle(
    parts: &Parts,
    lease: &Lease,
    ending: Ending,
    sustained: Sustained,
    end: RunEnd,
) -> (bool, RunEnd) {
    let settlement = Settlement { lease: lease.name, ending, sustained };
    for _ in 0..STORE_TRIES {
        match parts.ports.store.settle(&settlement).await {
            Ok(Settled::Done { .. }) => {
                if let Ending::Retry { wait, .. } | Ending::Postponed { wait, .. } =
                    settlement.ending
                {
                    wake_after(parts, wait);
                }
                if let Ending::Retry { failure, .. } | Ending::GaveUp { failure, .. } =
                    &settlement.ending
                {
                    tell_sustained(lease, failure, sustained);
                }
                return (true, end);
            }
            Ok(Settled::Overtaken) => return (true, RunEnd::Overtaken),
            Err(error) => {
                warn!(event = "vz_sync_settle_failed", team_id = lease.name.key.team.0, scope = lease.name.key.scope.as_str(), job_id = lease.name.job.0, error = %error, "settlement not taken");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
    (false, RunEnd::Undecided)
}

/// A wait that ends before the scheduler's next poll would be stretched to it,
/// so the scheduler is nudged then. A nudge that is lost is made up for by the
/// poll.
pub(super) fn wake_after(parts: &Parts, wait: Duration) {
    if wait >= parts.settings.poll {
        return;
    }
    let signals = parts.ports.signals.clone();
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        signals.send(Signal::StatesDue);
    });
}
