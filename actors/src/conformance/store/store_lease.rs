//! The exam of the real lock.

use std::sync::Arc;
use std::time::Duration;

use super::{StoreSubject, ended, unchanged};
use crate::domain::{Class, Fence, JobState, Mode, TeamId};
use crate::ports::store::{Applied, Ending, LeaseAnswer, LeaseAsk, Resting, SyncRequest};
use crate::testkit::fixtures::{
    DEAD_AFTER, LEASE_TTL, OWNER_UID, environments_of, lease_ask, replica_id, run_id, sync_request,
};

/// A lease raises the fence and the attempt and tells the run what it needs.
pub async fn a_lease_tells_what_the_run_needs(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    assert_eq!((lease.name.fence, lease.attempt), (Fence(1), 1));
    assert_eq!((lease.name.key, lease.name.run), (key, run_id(1)));
    assert_eq!(lease.mode, Mode::Full, "the first run is full");
    assert_eq!(lease.owner_uid, Some(OWNER_UID));
    assert_eq!((lease.failures, lease.last_full_at, lease.expected), (0, None, None));
    assert!(lease.dispatched_at.is_some());
    let status = subject.scope(key).await;
    assert_eq!(status.status, "running");
    assert_eq!(
        status.lease.map(|lease| (lease.owner, lease.run)),
        Some((replica_id(1), run_id(1)))
    );
    let job = subject.job(key, lease.name.job).await;
    assert_eq!((job.state, job.mode), (JobState::Running, Some(Mode::Full)));
}

/// A run learns which mode its request named, and that it named none.
pub async fn a_lease_tells_what_was_asked_for(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let first = subject.lease(key, 1).await;
    assert_eq!((first.requested_at, first.asked), (None, None));
    subject.apply(&unchanged(&first)).await;
    for (run, mode) in [(2, Some(Mode::Delta)), (3, None), (4, Some(Mode::Full))] {
        let request = SyncRequest { mode, ..sync_request(key, Class::Manual) };
        subject.store.request(&request).await.unwrap();
        let lease = subject.lease(key, run).await;
        assert!(lease.requested_at.is_some());
        assert_eq!(lease.asked, mode);
        subject.apply(&unchanged(&lease)).await;
    }
}

/// Later runs get a delta until a full is due again.
pub async fn the_mode_follows_the_due_times(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let first = subject.lease(key, 1).await;
    subject.apply(&unchanged(&first)).await;
    subject.pace.pass(Duration::from_mins(11)).await;
    let second = subject.lease(key, 2).await;
    assert_eq!((second.mode, second.name.fence), (Mode::Delta, Fence(2)));
    assert!(second.last_full_at.is_some());
    let mut apply = unchanged(&second);
    apply.due.full = first.database_now + Duration::from_hours(1);
    subject.apply(&apply).await;
    subject.pace.pass(Duration::from_hours(1)).await;
    assert_eq!(subject.lease(key, 3).await.mode, Mode::Full);
}

/// A delivery of a job that is no longer queued was a repeat.
pub async fn a_repeated_delivery_gets_nothing(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let repeat = lease_ask(key, lease.name.job, 2);
    assert_eq!(subject.ask(&repeat).await, LeaseAnswer::NotQueued);
    subject.apply(&unchanged(&lease)).await;
    assert_eq!(subject.ask(&repeat).await, LeaseAnswer::NotQueued);
    let unknown = lease_ask(key, crate::domain::JobId(9_999), 2);
    assert_eq!(subject.ask(&unknown).await, LeaseAnswer::NotQueued);
}

/// A live lease is a collision: the second job waits, still queued.
pub async fn a_live_lease_is_a_collision(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.lease(key, 1).await;
    let second = subject.request(key, Class::Manual).await.job_id;
    let ask = lease_ask(key, second, 2);
    assert_eq!(subject.ask(&ask).await, LeaseAnswer::Busy { holder: run_id(1) });
    assert_eq!(subject.state_of(key, second).await, JobState::Queued);
    let waits_until = subject.scope(key).await.not_before.expect("the state waits");
    assert!(waits_until > subject.scope(key).await.now);
}

/// A dead owner's lease is free: its run lost, its job gives way.
pub async fn a_dead_owners_lease_is_free(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lost = subject.lease(key, 1).await;
    let second = subject.request(key, Class::Manual).await.job_id;
    subject.pace.pass(DEAD_AFTER + Duration::from_secs(1)).await;
    subject.beat(2).await;
    let ask = LeaseAsk { replica: replica_id(2), ..lease_ask(key, second, 2) };
    let LeaseAnswer::Granted(lease) = subject.ask(&ask).await else { panic!("not granted") };
    assert_eq!(lease.name.fence, Fence(2));
    let job = subject.job(key, lost.name.job).await;
    assert_eq!((job.state, job.satisfied_by_job_id), (JobState::Superseded, Some(second)));
    assert_eq!(subject.store.apply(&unchanged(&lost)).await.unwrap(), Applied::Overtaken);
    assert!(!subject.store.renew(&lost.name, LEASE_TTL).await.unwrap());
}

/// A state that must wait is not leased; its job stays queued.
pub async fn a_waiting_state_is_not_leased(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let ending = Ending::Postponed { reason: "rate_limit", wait: Duration::from_mins(5) };
    subject.store.settle(&ended(&lease, ending)).await.unwrap();
    let answer = subject.ask(&lease_ask(key, lease.name.job, 2)).await;
    let LeaseAnswer::Later { not_before } = answer else { panic!("{answer:?}") };
    assert!(not_before > lease.database_now);
    assert_eq!(subject.state_of(key, lease.name.job).await, JobState::Queued);
}

/// A team that rests gets no run: its job is obsolete, without an event.
pub async fn a_resting_team_gets_no_run(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let job = subject.queued(key).await;
    subject.teams.set_paused(TeamId(1), Some("holidays".to_owned())).await.unwrap();
    let answer = subject.ask(&lease_ask(key, job, 1)).await;
    assert_eq!(answer, LeaseAnswer::Resting(Resting::Paused("holidays".to_owned())));
    assert_eq!(subject.state_of(key, job).await, JobState::Obsolete);
    assert!(subject.events(key.team).await.is_empty());
    subject.teams.set_paused(TeamId(1), None).await.unwrap();
    assert!(subject.claims(key).await.is_some(), "the state was not lost");
}

/// A run that crashes each time is given up after its attempts, with one event.
pub async fn crashes_use_up_the_attempts(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let mut job = None;
    for run in 1..=5 {
        let lease = subject.lease(key, run).await;
        assert_eq!(lease.attempt, run as u32);
        assert_eq!(*job.get_or_insert(lease.name.job), lease.name.job);
        assert!(subject.store.release(run_id(run)).await.unwrap());
    }
    let job = subject.queued(key).await;
    let answer = subject.ask(&lease_ask(key, job, 6)).await;
    assert_eq!(answer, LeaseAnswer::Exhausted { attempts: 5 });
    assert_eq!(subject.state_of(key, job).await, JobState::Dead);
    assert_eq!(subject.ends_of(key.team, job).await, ["sync.failed"]);
    assert_eq!(subject.claims(key).await, None, "the state backs off");
    subject.pace.pass(Duration::from_hours(1)).await;
    let next = subject.claims(key).await.expect("and stays scheduled");
    assert_ne!(next.job, job);
}

/// Renewing moves the end of the lease; past its end it is over.
pub async fn a_renewed_lease_lasts(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    for _ in 0..3 {
        subject.pace.pass(LEASE_TTL * 2 / 3).await;
        assert!(subject.store.renew(&lease.name, LEASE_TTL).await.unwrap());
    }
    subject.pace.pass(LEASE_TTL + Duration::from_secs(1)).await;
    assert!(!subject.store.renew(&lease.name, LEASE_TTL).await.unwrap());
    assert_eq!(subject.store.apply(&unchanged(&lease)).await.unwrap(), Applied::Overtaken);
    assert!(subject.events(key.team).await.is_empty());
}

/// A released lease leaves its job queued with the attempt counted.
pub async fn a_released_lease_is_free_at_once(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    assert!(subject.store.release(run_id(1)).await.unwrap());
    assert!(!subject.store.release(run_id(1)).await.unwrap());
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(lease.name.job));
    assert_eq!(subject.store.apply(&unchanged(&lease)).await.unwrap(), Applied::Overtaken);
    assert_eq!(subject.lease(key, 2).await.attempt, 2);
}

/// Eight consumers with the same delivery: one leases.
pub async fn eight_deliveries_one_lease(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let job = subject.queued(key).await;
    let consumers = (1..=8).map(|run| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move { store.lease(&lease_ask(key, job, run)).await.unwrap() })
    });
    let answers = futures_util::future::join_all(consumers).await;
    let granted = |answer: &LeaseAnswer| matches!(answer, LeaseAnswer::Granted(_));
    assert_eq!(answers.into_iter().map(Result::unwrap).filter(granted).count(), 1);
}

/// Tests of [`Store::lease`](crate::ports::store::Store::lease) and its kin.
#[macro_export]
macro_rules! store_lease_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_lease:
            a_lease_tells_what_the_run_needs, a_lease_tells_what_was_asked_for, the_mode_follows_the_due_times,
            a_repeated_delivery_gets_nothing, a_live_lease_is_a_collision,
            a_dead_owners_lease_is_free, a_waiting_state_is_not_leased, a_resting_team_gets_no_run,
            crashes_use_up_the_attempts, a_renewed_lease_lasts,
            a_released_lease_is_free_at_once, eight_deliveries_one_lease);
    };
}
