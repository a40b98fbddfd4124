//! The exam of ends without a commit, and of what operators decide.

use std::time::Duration;

use super::{StoreSubject, ended, unchanged};
use crate::domain::retry::Sustained;
use crate::domain::{Class, EventBody, Failure, FailureClass, JobState, Scope, ScopeKey, TeamId};
use crate::ports::store::{Ending, Lease, LeaseAnswer, Requested, Resting, Settled, Settlement};
use crate::testkit::fixtures::{LEASE_TTL, environments_of, lease_ask, run_id, sync_request};

const WAIT: Duration = Duration::from_mins(2);

fn failure(class: FailureClass) -> Failure {
    Failure::new(class, "http_503", "the platform answered 503")
}

async fn settle(subject: &StoreSubject, lease: &Lease, ending: Ending) -> Settled {
    subject.store.settle(&ended(lease, ending)).await.unwrap()
}

/// A retry: the job is queued again, the failure counts, nobody is told.
pub async fn a_retry_queues_the_job_again(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    for attempt in 1..=2 {
        let lease = subject.lease(key, attempt).await;
        assert_eq!((lease.attempt, lease.failures), (attempt as u32, attempt as u32 - 1));
        let ending = Ending::Retry { failure: failure(FailureClass::Retryable), wait: WAIT };
        assert_eq!(settle(subject, &lease, ending).await, Settled::Done { event: None });
        assert_eq!(subject.state_of(key, lease.name.job).await, JobState::Queued);
        let status = subject.scope(key).await;
        assert_eq!((status.failures, status.status.as_str()), (attempt as u32, "retrying"));
        assert!(status.failing_since.is_some() && status.lease.is_none());
        subject.pace.pass(WAIT + Duration::from_secs(1)).await;
    }
    let entry = subject.claims(key).await.expect("it waits no longer");
    assert_eq!(entry.class, Class::Retry);
    let lease = subject.lease(key, 3).await;
    subject.apply(&unchanged(&lease)).await;
    let status = subject.scope(key).await;
    assert_eq!((status.failures, status.failing_since, status.last_error), (0, None, None));
    assert_eq!(subject.ends_of(key.team, lease.name.job).await, ["sync.completed"]);
}

/// Postponed and handed back: no failure, the attempt is given back.
pub async fn a_postponed_attempt_does_not_count(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    for run in 1..=12 {
        let lease = subject.lease(key, run).await;
        assert_eq!((lease.attempt, lease.failures), (1, 0));
        let ending = if run % 2 == 0 {
            Ending::Postponed { reason: "throttled", wait: WAIT }
        } else {
            Ending::HandedBack
        };
        settle(subject, &lease, ending).await;
        if run % 2 == 0 {
            assert_eq!(subject.scope(key).await.status, "throttled");
            assert_eq!(subject.claims(key).await, None);
            subject.pace.pass(WAIT + Duration::from_secs(1)).await;
        } else {
            assert_eq!(subject.scope(key).await.not_before, None, "free at once");
        }
    }
    assert!(subject.events(key.team).await.is_empty());
}

/// Giving up ends the job with one event; the state stays scheduled.
pub async fn giving_up_is_told_once(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let asked = subject.request(key, Class::Manual).await;
    let lease = subject.lease(key, 1).await;
    assert_eq!(lease.name.job, asked.job_id);
    let ending = Ending::GaveUp {
        failure: failure(FailureClass::Retryable),
        state: JobState::Failed,
        wait: WAIT,
    };
    let Settled::Done { event: Some(_) } = settle(subject, &lease, ending.clone()).await else {
        panic!("an end owes an event")
    };
    assert_eq!(settle(subject, &lease, ending).await, Settled::Overtaken);
    assert_eq!(subject.ends_of(key.team, lease.name.job).await, ["sync.failed"]);
    let job = subject.job(key, lease.name.job).await;
    assert_eq!((job.state, job.error_class.as_deref()), (JobState::Failed, Some("retryable")));
    assert!(subject.scope(key).await.requested_at.is_none(), "the wish was answered, badly");
    assert_eq!(subject.claims(key).await, None);
    subject.pace.pass(WAIT + Duration::from_secs(1)).await;
    let next = subject.claims(key).await.expect("the state stays scheduled");
    assert_ne!(next.job, lease.name.job);
}

/// A wish made during a run that gives up is not lost with it.
pub async fn a_later_wish_survives_giving_up(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    let wish = subject.request(key, Class::Manual).await;
    let ending = Ending::GaveUp {
        failure: failure(FailureClass::Invalid),
        state: JobState::Failed,
        wait: WAIT,
    };
    settle(subject, &lease, ending).await;
    subject.pace.pass(WAIT + Duration::from_secs(1)).await;
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(wish.job_id));
}

/// A refused key rests the whole team, told once.
pub async fn a_refused_key_rests_the_team(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let (key, team) = (environments_of(1), TeamId(1));
    let logs = ScopeKey::new(team, Scope::JobLogs);
    let (first, second) = (subject.lease(key, 1).await, subject.lease(logs, 2).await);
    let refused = || Ending::AuthRefused {
        failure: Failure::new(FailureClass::Auth, "result_702", "the key was refused"),
        probe_in: Duration::from_hours(1),
    };
    let Settled::Done { event: Some(_) } = settle(subject, &first, refused()).await else {
        panic!("the transition is told")
    };
    assert_eq!(settle(subject, &second, refused()).await, Settled::Done { event: None });
    assert_eq!(subject.state_of(key, first.name.job).await, JobState::Failed);
    assert_eq!(subject.state_of(logs, second.name.job).await, JobState::Obsolete);
    let events = subject.events(team).await;
    assert_eq!(events.len(), 1);
    assert!(matches!(&events[0].body, EventBody::Failed(failed) if failed.reason == "result_702"));
    assert!(subject.claim().await.is_empty());
    let wish = subject.store.request(&sync_request(key, Class::Manual)).await.unwrap();
    assert!(matches!(wish, Requested::Resting(Resting::Auth(_))));
    let status = subject.scope(key).await;
    assert_eq!((status.status.as_str(), status.pending_reason.as_deref()), ("error", Some("auth")));
    subject.pace.pass(Duration::from_hours(2)).await;
    assert!(subject.claim().await.is_empty(), "until the key is replaced or taken again");
}

/// A scope that failed for too long is paused alone, until people resume it.
pub async fn a_scope_that_fails_for_long_is_paused(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    for (run, sustained) in [(1, Sustained::Warn), (2, Sustained::Pause)] {
        let lease = subject.lease(key, run).await;
        assert_eq!(lease.pause_warned, run == 2, "the run knows what was told");
        let ending = Ending::Retry { failure: failure(FailureClass::Retryable), wait: WAIT };
        let settlement = Settlement { sustained, ..ended(&lease, ending) };
        subject.store.settle(&settlement).await.unwrap();
        assert!(subject.scope(key).await.pause_warned_at.is_some(), "and so do people");
        subject.pace.pass(WAIT + Duration::from_secs(1)).await;
    }
    assert!(subject.claim().await.iter().all(|entry| entry.key != key));
    assert_eq!(subject.scope(key).await.status, "paused");
    let wish = subject.store.request(&sync_request(key, Class::Manual)).await.unwrap();
    assert!(matches!(wish, Requested::Resting(Resting::Paused(_))));
    let job = subject.scope(key).await.queued.expect("it waits").id;
    let answer = subject.ask(&lease_ask(key, job, 3)).await;
    assert!(matches!(answer, LeaseAnswer::Resting(Resting::Paused(_))));
    subject.lease(ScopeKey::new(TeamId(1), Scope::JobLogs), 4).await;
    subject.teams.set_paused(TeamId(1), None).await.unwrap();
    assert_eq!(subject.scope(key).await.failures, 0);
    assert!(subject.claims(key).await.is_some());
}

/// A refused key rests the team; its scopes are not paused beside that, or they
/// would stay so with the next key, whose failures these are not.
pub async fn a_refused_key_pauses_no_scope(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let ending = Ending::AuthRefused {
        failure: Failure::new(FailureClass::Auth, "result_702", "the key was refused"),
        probe_in: Duration::from_hours(1),
    };
    let settlement = Settlement { sustained: Sustained::Pause, ..ended(&lease, ending) };
    subject.store.settle(&settlement).await.unwrap();
    let status = subject.scope(key).await;
    assert_eq!((status.status.as_str(), status.pause_warned_at), ("error", None));
    subject.pace.pass(Duration::from_secs(1)).await;
    subject.with_teams(&[1]).await;
    let lease = subject.lease(key, 2).await;
    assert_eq!((lease.failures, lease.failing_since), (0, None));
}

/// An end that comes too late changes nothing.
pub async fn an_overtaken_end_changes_nothing(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let old = subject.lease(key, 1).await;
    subject.store.release(run_id(1)).await.unwrap();
    let new = subject.lease(key, 2).await;
    let ending = Ending::Retry { failure: failure(FailureClass::Retryable), wait: WAIT };
    assert_eq!(settle(subject, &old, ending).await, Settled::Overtaken);
    let status = subject.scope(key).await;
    assert_eq!((status.failures, status.lease.map(|lease| lease.run)), (0, Some(run_id(2))));
    assert!(subject.store.renew(&new.name, LEASE_TTL).await.unwrap());
}

/// A cancelled run stops at its next renewal and is told once.
pub async fn a_running_job_can_be_cancelled(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let job = lease.name.job;
    assert!(!subject.store.cancel(TeamId(2), job, "mallory").await.unwrap());
    assert!(subject.store.cancel(key.team, job, "alice").await.unwrap());
    assert!(!subject.store.cancel(key.team, job, "alice").await.unwrap());
    assert!(!subject.store.renew(&lease.name, LEASE_TTL).await.unwrap());
    assert_eq!(settle(subject, &lease, Ending::HandedBack).await, Settled::Overtaken);
    assert_eq!(subject.state_of(key, job).await, JobState::Cancelled);
    assert_eq!(subject.ends_of(key.team, job).await, ["sync.failed"]);
}

/// A queued job can be cancelled, too; its wish goes with it.
pub async fn a_queued_job_can_be_cancelled(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let job = subject.request(key, Class::Manual).await.job_id;
    assert!(subject.store.cancel(key.team, job, "alice").await.unwrap());
    assert_eq!(subject.ask(&lease_ask(key, job, 1)).await, LeaseAnswer::NotQueued);
    assert_eq!(subject.ends_of(key.team, job).await, ["sync.failed"]);
    assert!(subject.scope(key).await.requested_at.is_none());
}

/// The run itself may end as cancelled.
pub async fn a_run_may_end_as_cancelled(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let ending = Ending::Cancelled { by: "alice".to_owned() };
    assert!(matches!(settle(subject, &lease, ending).await, Settled::Done { event: Some(_) }));
    assert_eq!(subject.state_of(key, lease.name.job).await, JobState::Cancelled);
}

/// A dead job's scope is queued anew, at once.
pub async fn a_dead_job_can_be_replayed(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    assert!(subject.store.replay(lease.name.job, "alice").await.is_err(), "it runs");
    let ending = Ending::GaveUp {
        failure: failure(FailureClass::Internal),
        state: JobState::Dead,
        wait: Duration::from_hours(1),
    };
    settle(subject, &lease, ending).await;
    let new = subject.store.replay(lease.name.job, "alice").await.unwrap();
    assert_ne!(new, lease.name.job);
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(new));
    assert!(subject.store.replay(crate::domain::JobId(9_999), "alice").await.is_err());
}

/// Tests of [`Store::settle`](crate::ports::store::Store::settle) and of what
/// operators decide.
#[macro_export]
macro_rules! store_settle_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_settle:
            a_retry_queues_the_job_again, a_postponed_attempt_does_not_count,
            giving_up_is_told_once, a_scope_that_fails_for_long_is_paused, a_later_wish_survives_giving_up, a_refused_key_rests_the_team, a_refused_key_pauses_no_scope,
            an_overtaken_end_changes_nothing, a_running_job_can_be_cancelled,
            a_queued_job_can_be_cancelled, a_run_may_end_as_cancelled, a_dead_job_can_be_replayed);
    };
}
