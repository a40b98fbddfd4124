//! What the log hears of a run's end. No decision is made here.

use tracing::{error, info, warn};

use crate::domain::retry::Action;
use crate::domain::{Completeness, Failure, HoldId};
use crate::ports::store::{Apply, Lease};

/// A run committed.
pub(super) fn committed(lease: &Lease, apply: &Apply, event: Option<i64>) {
    let counts = apply.counts;
    info!(
        event = "vz_sync_job_completed",
        team_id = lease.name.key.team.0,
        scope = lease.name.key.scope.as_str(),
        job_id = lease.name.job.0,
        fence = lease.name.fence.0,
        mode = apply.mode.as_str(),
        event_no = event,
        listed = counts.listed,
        inserted = counts.inserted,
        updated = counts.updated,
        unchanged = counts.unchanged,
        missing = counts.missing,
        stale = counts.stale,
        held = counts.held,
        quarantined = counts.quarantined,
        elapsed_ms = lease.asked_at.elapsed().as_millis() as u64,
        "run committed"
    );
    if let Completeness::Partial(reason) = &apply.completeness
        && reason.is_the_keys()
    {
        violation(lease, reason.code(), "the key lacks the rights of the team's Owner");
    }
}

/// A removal set was held.
pub(super) fn held(lease: &Lease, hold: HoldId) {
    warn!(
        event = "vz_sync_removals_held",
        team_id = lease.name.key.team.0,
        scope = lease.name.key.scope.as_str(),
        job_id = lease.name.job.0,
        hold_id = hold.0,
        "a removal set waits for a decision"
    );
}

/// A run failed, and what follows from it.
pub(super) fn failed(lease: &Lease, failure: &Failure, action: Action) {
    let (team_id, scope) = (lease.name.key.team.0, lease.name.key.scope.as_str());
    let (job_id, attempt) = (lease.name.job.0, lease.attempt);
    let (reason, error_class) = (failure.code.as_str(), failure.class.as_str());
    match action {
        Action::Retry { wait } | Action::Postpone { wait, .. } => {
            let wait_ms = wait.as_millis() as u64;
            warn!(event = "vz_sync_retry", team_id, scope, job_id, attempt, reason, error_class, wait_ms, error = %failure.message, "run failed, trying again");
        }
        Action::GiveUp { state, .. } => {
            error!(event = "vz_sync_job_failed", team_id, scope, job_id, attempt, reason, error_class, state = state.as_str(), error = %failure.message, "job gave up");
        }
        Action::RefuseKey { .. } => {
            error!(event = "vz_sync_job_failed", team_id, scope, job_id, attempt, reason, error_class, error = %failure.message, "the platform refuses the team's key");
            violation(lease, reason, "the platform refuses the team's key");
        }
    }
}

/// A request was made with a key that may not make it.
fn violation(lease: &Lease, reason: &str, what: &'static str) {
    warn!(
        event = "auth_violation",
        team_id = lease.name.key.team.0,
        scope = lease.name.key.scope.as_str(),
        job_id = lease.name.job.0,
        reason,
        "{what}"
    );
}
