//! The exam of the real lock.

use std::sync::Arc;
use std::time::Duration;

use super::{StoreSubject, ended, unchanged};
use crate::domain::retry::{RetryRules, Sustained};
use crate::domain::{Class, Fence, JobState, Mode, TeamId};
use crate::ports::store::{Applied, Ending, LeaseAnswer, LeaseAsk, Resting};
use crate::testkit::fixtures::{
    DEAD_AFTER, LEASE_TTL, OWNER_UID, environments_of, lease_ask, pause, replica_id, run_id,
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
    let earlier = subject.lease(key, 1).await;
    subject.apply(&unchanged(&earlier)).await;
    subject.pace.pass(Duration::from_hours(2)).await;
    let told = subject.events(key.team).await.len();
    let job = subject.queued(key).await;
    subject.teams.set_paused(TeamId(1), Some(pause("holidays"))).await.unwrap();
    let answer = subject.ask(&lease_ask(key, job, 1)).await;
    assert_eq!(answer, LeaseAnswer::Resting(Resting::Paused("holidays".to_owned())));
    let ended = subject.job(key, job).await;
    assert_eq!((ended.state, ended.satisfied_by_job_id), (JobState::Obsolete, None), "nobody ran");
    assert_eq!(subject.events(key.team).await.len(), told);
    subject.teams.set_paused(TeamId(1), None).await.unwrap();
    assert!(subject.claims(key).await.is_some(), "the state was not lost");
}

/// What somebody asked for waits until the team is back: no run of before the
/// wish counts as its answer.
pub async fn a_wish_waits_for_a_team_that_rests(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let earlier = subject.lease(key, 1).await;
    subject.apply(&unchanged(&earlier)).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    let wish = subject.request(key, Class::Manual).await.job_id;
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(wish));
    subject.store.mark_published(&[wish]).await.unwrap();
    let told = subject.events(key.team).await.len();
    subject.teams.set_paused(TeamId(1), Some(pause("holidays"))).await.unwrap();
    let parked = LeaseAnswer::Parked(Resting::Paused("holidays".to_owned()));
    assert_eq!(subject.ask(&lease_ask(key, wish, 2)).await, parked);
    assert_eq!(subject.ask(&lease_ask(key, wish, 3)).await, parked, "however often");
    let job = subject.job(key, wish).await;
    assert_eq!((job.state, job.satisfied_by_job_id), (JobState::Queued, None));
    assert_eq!(subject.store.published_unleased().await.unwrap(), 0, "it is off the bus");
    assert_eq!(subject.events(key.team).await.len(), told);
    subject.pace.pass(Duration::from_hours(2)).await;
    assert_eq!(subject.claims(key).await, None);

    subject.teams.set_paused(TeamId(1), None).await.unwrap();
    let lease = subject.lease(key, 4).await;
    assert_eq!((lease.name.job, lease.class, lease.attempt), (wish, Class::Manual, 1));
    subject.apply(&unchanged(&lease)).await;
    assert_eq!(subject.ends_of(key.team, wish).await, ["sync.completed"]);
    // With the team itself the wish is gone for good.
    subject.request(key, Class::Manual).await;
    subject.teams.remove(key.team).await.unwrap();
    let answer = subject.ask(&lease_ask(key, wish, 5)).await;
    assert_eq!(answer, LeaseAnswer::NotQueued);
}

/// Whoever met a live lease waits for that lease and not for its own time, in
/// whatever way the lease ends.
pub async fn who_met_a_lease_waits_for_it_no_longer(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    for run in [10, 20, 30] {
        let lease = subject.lease(key, run).await;
        let second = subject.request(key, Class::Manual).await.job_id;
        let busy = subject.ask(&lease_ask(key, second, run + 1)).await;
        assert_eq!(busy, LeaseAnswer::Busy { holder: run_id(run) });
        assert!(subject.scope(key).await.not_before.is_some());
        match run {
            10 => assert!(subject.store.release(run_id(run)).await.unwrap()),
            20 => {
                let back = ended(&lease, Ending::HandedBack);
                subject.store.settle(&back).await.unwrap();
            }
            _ => {
                subject.pace.pass(DEAD_AFTER + Duration::from_secs(1)).await;
                assert_eq!(subject.replicas.reap(DEAD_AFTER).await.unwrap().len(), 1);
            }
        }
        assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(second), "run {run}");
    }
}

/// Crashes that go on for long pause their scope, as told failures do.
pub async fn crashes_without_end_pause_the_scope(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let retry = RetryRules {
        pause_failures: 3,
        pause_after: Duration::from_hours(3),
        ..RetryRules::default()
    };
    let mut run = 0;
    // Failures at 0, 2 and 4 hours: two thirds of both limits at the second.
    for expected in [Sustained::No, Sustained::Warn, Sustained::Pause] {
        for _ in 0..5 {
            run += 1;
            subject.lease(key, run).await;
            assert!(subject.store.release(run_id(run)).await.unwrap());
        }
        let job = subject.queued(key).await;
        let ask = LeaseAsk { retry, ..lease_ask(key, job, run + 100) };
        let answer = subject.ask(&ask).await;
        assert_eq!(answer, LeaseAnswer::Exhausted { attempts: 5, sustained: expected });
        let warned = subject.scope(key).await.pause_warned_at.is_some();
        assert_eq!(warned, expected != Sustained::No);
        subject.pace.pass(Duration::from_hours(2)).await;
    }
    assert_eq!(subject.scope(key).await.status, "paused");
    assert_eq!(subject.claims(key).await, None);
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
    assert_eq!(answer, LeaseAnswer::Exhausted { attempts: 5, sustained: Sustained::No });
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
            a_lease_tells_what_the_run_needs, the_mode_follows_the_due_times,
            a_repeated_delivery_gets_nothing, a_live_lease_is_a_collision,
            a_dead_owners_lease_is_free, a_waiting_state_is_not_leased, a_resting_team_gets_no_run,
            a_wish_waits_for_a_team_that_rests, who_met_a_lease_waits_for_it_no_longer,
            crashes_without_end_pause_the_scope, crashes_use_up_the_attempts, a_renewed_lease_lasts,
            a_released_lease_is_free_at_once, eight_deliveries_one_lease);
    };
}
