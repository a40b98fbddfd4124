//! Steps that several endings share. Each expects the state's row to be held
//! by its transaction.

use std::time::Duration;

use time::OffsetDateTime;
use vz_sync_actors::domain::event::Failed;
use vz_sync_actors::domain::retry::Sustained;
use vz_sync_actors::domain::{EventBody, Failure, FailureClass, JobId, JobState, ScopeKey};

use super::super::error::Fault;
use super::db::Tx;
use super::outbox::Outgoing;

const END_LEASE: &str = include_str!("../sql/end_lease.sql");
const REQUEUE_JOB: &str = include_str!("../sql/requeue_job.sql");
const FINISH_JOB: &str = include_str!("../sql/finish_job.sql");
const ANSWER_REQUEST: &str = include_str!("../sql/answer_request.sql");
const FAIL_STATE: &str = include_str!("../sql/fail_state.sql");

/// The lease is over and the scope may be dispatched anew.
pub(super) async fn end_lease(tx: &Tx<'_>, key: ScopeKey) -> Result<(), Fault> {
    tx.execute(END_LEASE, &[&key.team.0, &key.scope.as_str()]).await.map(drop)
}

/// The running job is queued again, or superseded by the one that is.
pub(super) async fn requeue(
    tx: &Tx<'_>,
    key: ScopeKey,
    give_attempt_back: bool,
    failure: Option<&Failure>,
) -> Result<(), Fault> {
    let class = failure.map(|failure| failure.class.as_str());
    let code = failure.map(|failure| failure.code.as_str());
    let message = failure.map(|failure| failure.message.as_str());
    tx.execute(
        REQUEUE_JOB,
        &[&key.team.0, &key.scope.as_str(), &give_attempt_back, &class, &code, &message],
    )
    .await
    .map(drop)
}

/// Ends a job without an event of its own.
pub(super) async fn finish(
    tx: &Tx<'_>,
    key: ScopeKey,
    job: JobId,
    state: JobState,
    failure: Option<&Failure>,
) -> Result<Option<String>, Fault> {
    let class = failure.map(|failure| failure.class.as_str());
    let code = failure.map(|failure| failure.code.as_str());
    let message = failure.map(|failure| failure.message.as_str());
    let row = tx
        .row(FINISH_JOB, &[&key.team.0, &job.0, &state.as_str(), &class, &code, &message])
        .await?;
    Ok(row.map(|row| row.try_get("trace_parent")).transpose()?.flatten())
}

/// Ends a job badly; the answer is the one event that it owes.
pub(super) async fn fail(
    tx: &Tx<'_>,
    key: ScopeKey,
    job: JobId,
    state: JobState,
    failure: &Failure,
) -> Result<Outgoing, Fault> {
    let trace_parent = finish(tx, key, job, state, Some(failure)).await?;
    let body = EventBody::Failed(Failed {
        job_id: Some(job),
        scope: key.scope,
        state,
        reason: failure.code.clone(),
        message: failure.message.clone(),
    });
    Ok(Outgoing { job: Some(job), scope: key.scope, body, trace_parent })
}

/// Forgets the request unless it is younger than `bound`, and what was queued
/// to follow for it.
pub(super) async fn answer_request(
    tx: &Tx<'_>,
    key: ScopeKey,
    job: JobId,
    bound: OffsetDateTime,
) -> Result<(), Fault> {
    tx.execute(ANSWER_REQUEST, &[&key.team.0, &key.scope.as_str(), &job.0, &bound]).await.map(drop)
}

/// Counts a failure; the scope waits if `wait` says so.
pub(super) async fn fail_state(
    tx: &Tx<'_>,
    key: ScopeKey,
    failure: &Failure,
    wait: Option<Duration>,
    sustained: Sustained,
) -> Result<(), Fault> {
    let wait = wait.map(|wait| wait.as_secs_f64());
    tx.execute(
        FAIL_STATE,
        &[
            &key.team.0,
            &key.scope.as_str(),
            &failure.class.as_str(),
            &failure.code,
            &failure.message,
            &wait,
            &wait_reason(failure),
            &sustained_word(sustained),
        ],
    )
    .await
    .map(drop)
}

/// As the statements know it.
pub(super) const fn sustained_word(sustained: Sustained) -> &'static str {
    match sustained {
        Sustained::No => "no",
        Sustained::Warn => "warn",
        Sustained::Pause => "pause",
    }
}

/// A wait that the platform asked for is not a person's to shorten.
fn wait_reason(failure: &Failure) -> &'static str {
    if failure.class == FailureClass::Throttled || failure.retry_after.is_some() {
        "throttled"
    } else {
        "backoff"
    }
}
