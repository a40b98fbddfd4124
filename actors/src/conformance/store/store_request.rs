//! The exam of requests: durable, coalesced, limited.

use std::time::Duration;

use tokio::time::Instant;

use super::{StoreSubject, ended, unchanged};
use crate::domain::{Class, Failure, FailureClass, JobState, Mode, TeamId};
use crate::ports::store::{Ending, Idempotency, Requested, Resting, SyncRequest};
use crate::ports::teams::Rollout;
use crate::testkit::fixtures::{environments_of, pause, sync_request};

/// A scope that is idle until its next own time.
async fn idle(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let lease = subject.lease(environments_of(1), 1).await;
    subject.apply(&unchanged(&lease)).await;
    subject.pace.pass(Duration::from_secs(1)).await;
}

/// The answer names a queued job, which the next claim dispatches.
pub async fn a_request_is_claimed_next(subject: &StoreSubject) {
    idle(subject).await;
    let key = environments_of(1);
    assert_eq!(subject.claims(key).await, None);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let ask = SyncRequest {
        mode: Some(Mode::Full),
        environments: vec!["env-00001".to_owned()],
        trace_parent: Some(parent.clone()),
        ..sync_request(key, Class::Manual)
    };
    let Requested::Accepted(jobs) = subject.store.request(&ask).await.unwrap() else {
        panic!("not taken")
    };
    assert!(!jobs[0].coalesced);
    let entry = subject.claims(key).await.expect("requested");
    assert_eq!((entry.job, entry.class), (jobs[0].job_id, Class::Manual));
    assert_eq!(entry.trace_parent.as_deref(), Some(parent.as_str()));
    let lease = subject.lease(key, 2).await;
    assert_eq!((lease.mode, lease.class), (Mode::Full, Class::Manual));
    assert_eq!(lease.environments, ["env-00001"]);
    assert!(lease.requested_at.is_some());
    assert_eq!(subject.job(key, entry.job).await.requested_by.as_deref(), Some("alice"));
}

/// Two wishes for one scope are one job: the higher class, the fuller mode.
pub async fn requests_are_coalesced(subject: &StoreSubject) {
    idle(subject).await;
    let key = environments_of(1);
    let delta = SyncRequest { mode: Some(Mode::Delta), ..sync_request(key, Class::Manual) };
    let full = SyncRequest { mode: Some(Mode::Full), ..sync_request(key, Class::Demand) };
    let first = subject.store.request(&full).await.unwrap();
    let second = subject.store.request(&delta).await.unwrap();
    let (Requested::Accepted(first), Requested::Accepted(second)) = (first, second) else {
        panic!("not taken")
    };
    assert_eq!(first[0].job_id, second[0].job_id);
    assert!(!first[0].coalesced && second[0].coalesced);
    let lease = subject.lease(key, 2).await;
    assert_eq!((lease.mode, lease.class), (Mode::Full, Class::Manual));
}

/// A wish that raises the class of a dispatched state is claimed at once, to
/// move it forward in the queue; an equal wish is not.
pub async fn a_raised_class_is_dispatched_anew(subject: &StoreSubject) {
    idle(subject).await;
    let key = environments_of(1);
    subject.request(key, Class::Demand).await;
    let first = subject.claims(key).await.expect("requested");
    subject.pace.pass(Duration::from_secs(1)).await;
    let raised = subject.request(key, Class::Manual).await;
    assert_eq!(raised.job_id, first.job);
    let again = subject.claims(key).await.expect("its class was raised");
    assert_eq!((again.job, again.class), (first.job, Class::Manual));
    subject.request(key, Class::Manual).await;
    assert_eq!(subject.claims(key).await, None);
}

/// A wish made during a run whose listing was sent before is followed by one
/// more run, and only one.
pub async fn a_run_in_flight_is_followed_by_at_most_one(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let sent_at = Instant::now();
    subject.pace.pass(Duration::from_secs(5)).await;
    let first = subject.request(key, Class::Manual).await;
    let second = subject.request(key, Class::Manual).await;
    assert_ne!(first.job_id, lease.name.job);
    assert_eq!(first.job_id, second.job_id);
    assert_eq!(subject.claims(key).await, None, "a run is in flight");
    let mut apply = unchanged(&lease);
    // On a server's clock the five seconds were moved, not waited for.
    apply.sent_at = sent_at.min(Instant::now() - Duration::from_secs(5));
    subject.apply(&apply).await;
    let entry = subject.claims(key).await.expect("the wish stands");
    assert_eq!(entry.job, first.job_id);
    let lease = subject.lease(key, 2).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    subject.apply(&unchanged(&lease)).await;
    assert_eq!(subject.claims(key).await, None, "the wish is answered");
    assert!(subject.scope(key).await.requested_at.is_none());
}

/// A wish made after the lease but before the listing was sent is answered by
/// the run in flight; its follow-up job is superseded and says by whom.
pub async fn a_wish_before_the_listing_is_answered_by_it(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    let follow_up = subject.request(key, Class::Manual).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    subject.apply(&unchanged(&lease)).await;
    let job = subject.job(key, follow_up.job_id).await;
    assert_eq!((job.state, job.satisfied_by_job_id), (JobState::Superseded, Some(lease.name.job)));
    assert_eq!(subject.claims(key).await, None);
    assert!(subject.ends_of(key.team, follow_up.job_id).await.is_empty());
}

/// A second wish during a run outlives it, even if the run was wished for, too.
pub async fn a_second_wish_outlives_the_first_ones_run(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.request(key, Class::Manual).await;
    let lease = subject.lease(key, 1).await;
    subject.pace.pass(Duration::from_secs(5)).await;
    let second = subject.request(key, Class::Manual).await;
    let mut apply = unchanged(&lease);
    apply.sent_at -= Duration::from_secs(4);
    subject.apply(&apply).await;
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(second.job_id));
}

/// A full that was asked for during a delta is not answered by it.
pub async fn a_wish_for_more_outlives_a_delta(subject: &StoreSubject) {
    idle(subject).await;
    let key = environments_of(1);
    subject.pace.pass(Duration::from_mins(11)).await;
    let lease = subject.lease(key, 2).await;
    assert_eq!(lease.mode, Mode::Delta);
    subject.pace.pass(Duration::from_secs(1)).await;
    let full = SyncRequest { mode: Some(Mode::Full), ..sync_request(key, Class::Manual) };
    subject.store.request(&full).await.unwrap();
    subject.pace.pass(Duration::from_secs(1)).await;
    subject.apply(&unchanged(&lease)).await;
    assert!(subject.claims(key).await.is_some(), "the wish stands");
    assert_eq!(subject.lease(key, 3).await.mode, Mode::Full);
}

/// A person ends a wait of our own making, never one of the platform's.
pub async fn a_person_ends_backoff_but_not_throttling(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let wait = Duration::from_mins(5);
    let failure = Failure::new(FailureClass::Retryable, "http_503", "no answer");
    for (run, retried) in [(1, true), (2, false)] {
        let lease = subject.lease(key, run).await;
        let ending = if retried {
            Ending::Retry { failure: failure.clone(), wait }
        } else {
            Ending::Postponed { reason: "throttled", wait }
        };
        subject.store.settle(&ended(&lease, ending)).await.unwrap();
        subject.request(key, Class::Demand).await;
        assert_eq!(subject.claims(key).await, None, "a reader does not end a wait");
        subject.pace.pass(Duration::from_secs(31)).await;
        subject.request(key, Class::Manual).await;
        assert_eq!(subject.claims(key).await.is_some(), retried);
    }
}

/// A demand is taken once per interval.
pub async fn a_demand_is_taken_once_per_interval(subject: &StoreSubject) {
    idle(subject).await;
    let ask = sync_request(environments_of(1), Class::Demand);
    assert!(matches!(subject.store.request(&ask).await.unwrap(), Requested::Accepted(_)));
    subject.pace.pass(ask.demand_interval / 2).await;
    let refused = subject.store.request(&ask).await.unwrap();
    assert_eq!(refused, Requested::Resting(Resting::RecentlyAsked));
    subject.pace.pass(ask.demand_interval).await;
    assert!(matches!(subject.store.request(&ask).await.unwrap(), Requested::Accepted(_)));
}

/// A repeated key answers as before; the same key with another body is told.
pub async fn an_idempotency_key_repeats_the_answer(subject: &StoreSubject) {
    idle(subject).await;
    let key = environments_of(1);
    let mut ask = SyncRequest {
        idempotency: Some(Idempotency { key: "k1".to_owned(), body_hash: [1; 32] }),
        per_minute: Some(1),
        ..sync_request(key, Class::Manual)
    };
    let first = subject.store.request(&ask).await.unwrap();
    let lease = subject.lease(key, 2).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    subject.apply(&unchanged(&lease)).await;
    assert_eq!(subject.store.request(&ask).await.unwrap(), first, "and past the limit, too");
    assert!(subject.scope(key).await.requested_at.is_none(), "a repeat asks for nothing");
    ask.idempotency = Some(Idempotency { key: "k1".to_owned(), body_hash: [2; 32] });
    assert_eq!(subject.store.request(&ask).await.unwrap(), Requested::IdempotencyConflict);
    subject.pace.pass(Duration::from_hours(25)).await;
    assert!(matches!(subject.store.request(&ask).await.unwrap(), Requested::Accepted(_)));
}

/// Past the limit a trigger is refused with the time at which one is taken.
pub async fn triggers_are_limited_per_minute(subject: &StoreSubject) {
    idle(subject).await;
    let ask =
        SyncRequest { per_minute: Some(3), ..sync_request(environments_of(1), Class::Manual) };
    for _ in 0..3 {
        assert!(matches!(subject.store.request(&ask).await.unwrap(), Requested::Accepted(_)));
    }
    let Requested::TooMany { retry_in } = subject.store.request(&ask).await.unwrap() else {
        panic!("the limit was not kept")
    };
    assert!(!retry_in.is_zero() && retry_in <= Duration::from_mins(1));
    subject.pace.pass(retry_in + Duration::from_millis(10)).await;
    assert!(matches!(subject.store.request(&ask).await.unwrap(), Requested::Accepted(_)));
    let demand = SyncRequest { class: Class::Demand, ..ask };
    assert!(matches!(subject.store.request(&demand).await.unwrap(), Requested::Accepted(_)));
}

/// A team that rests is told why, and nothing is noted.
pub async fn a_resting_team_is_told_why(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let (key, team) = (environments_of(1), TeamId(1));
    let ask = sync_request(key, Class::Manual);
    subject.teams.set_paused(team, Some(pause("holidays"))).await.unwrap();
    let paused = Requested::Resting(Resting::Paused("holidays".to_owned()));
    assert_eq!(subject.store.request(&ask).await.unwrap(), paused);
    subject.teams.set_paused(team, None).await.unwrap();
    subject.credentials.erase(team).await.unwrap();
    let keyless = Requested::Resting(Resting::NoCredentials);
    assert_eq!(subject.store.request(&ask).await.unwrap(), keyless);
    subject.teams.set_rollout(&Rollout::default(), "tester").await.unwrap();
    let out = Requested::Resting(Resting::OutOfRollout);
    assert_eq!(subject.store.request(&ask).await.unwrap(), out);
    assert!(subject.scope(key).await.requested_at.is_none());
    let unknown = sync_request(environments_of(404), Class::Manual);
    assert_eq!(subject.store.request(&unknown).await.unwrap(), Requested::UnknownTeam);
}

/// Tests of [`Store::request`](crate::ports::store::Store::request).
#[macro_export]
macro_rules! store_request_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_request:
            a_request_is_claimed_next, requests_are_coalesced, a_raised_class_is_dispatched_anew,
            a_run_in_flight_is_followed_by_at_most_one,
            a_wish_before_the_listing_is_answered_by_it,
            a_second_wish_outlives_the_first_ones_run, a_wish_for_more_outlives_a_delta,
            a_person_ends_backoff_but_not_throttling, a_demand_is_taken_once_per_interval,
            an_idempotency_key_repeats_the_answer, triggers_are_limited_per_minute,
            a_resting_team_is_told_why);
    };
}
