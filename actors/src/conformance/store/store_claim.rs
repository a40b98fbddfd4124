//! The exam of the claim: what is runnable, once each, most urgent first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{StoreSubject, ended, unchanged};
use crate::domain::{Class, Failure, FailureClass, JobState, PlatformId, Scope, ScopeKey, TeamId};
use crate::ports::store::{ClaimAsk, Ending, LeaseAnswer, Room};
use crate::ports::teams::Rollout;
use crate::testkit::fixtures::{CLAIM, LEASE_TTL, REDISPATCH, environments_of, lease_ask, run_id};

/// A new team's scopes are due at once, each with a queued job.
pub async fn a_new_team_is_due_at_once(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let claimed = subject.claim().await;
    let scopes: HashSet<Scope> = claimed.iter().map(|entry| entry.key.scope).collect();
    assert_eq!(scopes.len(), Scope::ALL.len());
    for entry in claimed {
        assert_eq!(entry.class, Class::Backfill);
        let job = subject.job(entry.key, entry.job).await;
        assert_eq!((job.state, job.attempt), (JobState::Queued, 0));
    }
}

/// What was dispatched is not claimed again before the re-dispatch delay, and
/// then with the same job.
pub async fn a_dispatched_state_comes_again_after_the_delay(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let first = subject.claims(environments_of(1)).await.expect("due");
    assert!(subject.claim().await.is_empty());
    subject.pace.pass(REDISPATCH / 2).await;
    assert!(subject.claim().await.is_empty());
    subject.pace.pass(REDISPATCH).await;
    let again = subject.claims(environments_of(1)).await.expect("due again");
    assert_eq!(again.job, first.job);
}

/// A leased state is not claimed; once its lease has run out it is, and its
/// running job is queued again.
pub async fn a_lost_lease_makes_its_job_queued_again(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    subject.pace.pass(REDISPATCH * 2).await;
    assert_eq!(subject.claims(key).await, None);
    subject.pace.pass(LEASE_TTL).await;
    let entry = subject.claims(key).await.expect("the lease has run out");
    assert_eq!(entry.job, lease.name.job);
    let job = subject.job(key, entry.job).await;
    assert_eq!((job.state, job.attempt), (JobState::Queued, 1));
}

/// After a commit the state is due at its own next time, not before.
pub async fn a_committed_state_is_due_at_its_next_time(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    subject.apply(&unchanged(&lease)).await;
    subject.pace.pass(Duration::from_mins(9)).await;
    assert_eq!(subject.claims(key).await, None);
    subject.pace.pass(Duration::from_mins(2)).await;
    let entry = subject.claims(key).await.expect("the delta is due");
    assert_eq!(entry.class, Class::Schedule);
    assert_ne!(entry.job, lease.name.job);
}

/// `not_before` keeps a state back, and no longer.
pub async fn a_waiting_state_is_left_alone(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let ending = Ending::Postponed { reason: "rate_limit", wait: Duration::from_mins(5) };
    subject.store.settle(&ended(&lease, ending)).await.unwrap();
    subject.pace.pass(Duration::from_mins(4)).await;
    assert_eq!(subject.claims(key).await, None);
    subject.pace.pass(Duration::from_mins(2)).await;
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(lease.name.job));
}

/// Higher classes first, then the longest due; the limit cuts the rest.
pub async fn the_most_urgent_is_claimed_first(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    subject.pace.pass(Duration::from_secs(5)).await;
    subject.with_teams(&[2, 3]).await;
    subject.request(environments_of(3), Class::Manual).await;
    let claimed = subject.store.claim(&ClaimAsk { limit: 2, ..CLAIM }).await.unwrap();
    assert_eq!(claimed[0].key, environments_of(3));
    assert_eq!(claimed[0].class, Class::Manual);
    assert_eq!(claimed[1].key.team, TeamId(1));
    assert_eq!(claimed.len(), 2);
}

/// Without room nothing is claimed but what somebody asked for; with some, of
/// each lane the longest due, and no lane takes the other's room.
pub async fn a_backlog_is_claimed_as_far_as_there_is_room(subject: &StoreSubject) {
    subject.with_teams(&[1, 2, 3]).await;
    let retried = subject.lease(environments_of(2), 1).await;
    let failure = Failure::new(FailureClass::Retryable, "http_503", "no answer");
    let ending = Ending::Retry { failure, wait: Duration::ZERO };
    subject.store.settle(&ended(&retried, ending)).await.unwrap();
    let loaded = subject.lease(environments_of(3), 2).await;
    subject.apply(&unchanged(&loaded)).await;
    subject.pace.pass(Duration::from_hours(24)).await;
    subject.with_teams(&[4, 5]).await;
    let room = |normal, low| ClaimAsk { room: Room { normal, low }, ..CLAIM };
    let claim = async |ask: ClaimAsk| -> Vec<ScopeKey> {
        subject.store.claim(&ask).await.unwrap().into_iter().map(|entry| entry.key).collect()
    };

    assert_eq!(claim(room(0, 0)).await, []);
    subject.request(environments_of(5), Class::Manual).await;
    assert_eq!(claim(room(0, 0)).await, [environments_of(5)]);
    assert_eq!(claim(room(1, 0)).await, [environments_of(2)], "a retry goes before the schedule");
    assert_eq!(claim(room(0, 2)).await.len(), 2, "a lane has its own room");
    assert_eq!(claim(room(9, 0)).await, [environments_of(3)]);
    let rest = claim(room(0, 5)).await;
    assert!(rest.iter().all(|key| key.team.0 <= 3), "the longest due come first: {rest:?}");
    assert_eq!(claim(room(9, 9)).await.len(), 5, "the new teams' other scopes");
}

/// What was put off for a moment does not stand behind those that became due
/// after it.
pub async fn a_short_wait_costs_no_place_in_line(subject: &StoreSubject) {
    subject.with_teams(&[1, 2, 3]).await;
    let keys = [1, 2, 3].map(environments_of);
    for (run, key) in keys.into_iter().enumerate() {
        let lease = subject.lease(key, run as u64 + 1).await;
        let mut commit = unchanged(&lease);
        // They become due one after the other.
        commit.due.delta = lease.database_now + Duration::from_mins(10 + run as u64);
        subject.apply(&commit).await;
    }
    subject.pace.pass(Duration::from_hours(2)).await;
    subject.beat(1).await;
    let one = ClaimAsk { room: Room { normal: 1, low: 0 }, ..CLAIM };
    let first = subject.store.claim(&one).await.unwrap().remove(0);
    assert_eq!(first.key, keys[0]);
    let LeaseAnswer::Granted(lease) = subject.ask(&lease_ask(first.key, first.job, 9)).await else {
        panic!("not leased")
    };
    let wait = Duration::from_secs(2);
    let ending = Ending::Postponed { reason: "rate_limit", wait };
    subject.store.settle(&ended(&lease, ending)).await.unwrap();
    subject.pace.pass(wait * 2).await;
    let again = subject.store.claim(&one).await.unwrap();
    assert_eq!(again.iter().map(|entry| entry.key).collect::<Vec<_>>(), [keys[0]]);
}

/// Nothing is claimed for teams that rest, and all of it once they do not.
pub async fn a_resting_team_is_left_in_peace(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let team = TeamId(1);
    subject.teams.set_paused(team, Some("holidays".to_owned())).await.unwrap();
    assert!(subject.claim().await.is_empty());
    subject.teams.set_paused(team, None).await.unwrap();

    let nobody = Rollout { enabled: true, ..Rollout::default() };
    subject.teams.set_rollout(&nobody).await.unwrap();
    assert!(subject.claim().await.is_empty());
    let off = Rollout { everyone: true, ..Rollout::default() };
    subject.teams.set_rollout(&off).await.unwrap();
    assert!(subject.claim().await.is_empty());
    let listed = Rollout { enabled: true, teams: vec![team], ..Rollout::default() };
    subject.teams.set_rollout(&listed).await.unwrap();

    subject.credentials.erase(team).await.unwrap();
    assert!(subject.claim().await.is_empty());
    subject.with_teams(&[1]).await;
    assert_eq!(subject.claim().await.len(), 3);

    subject.teams.remove(team).await.unwrap();
    subject.pace.pass(REDISPATCH * 2).await;
    assert!(subject.claim().await.is_empty());
}

/// An open circuit keeps its platform's teams back until its time.
pub async fn an_open_circuit_keeps_its_teams_back(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let platform: PlatformId = subject.teams.list().await.unwrap()[0].platform;
    let open_for = Duration::from_mins(1);
    assert!(subject.platforms.connection_failed(platform, 1, open_for).await.unwrap());
    assert!(subject.claim().await.is_empty());
    subject.pace.pass(open_for + Duration::from_secs(1)).await;
    // One state may go first, as the probe, and the others after it.
    assert!(!subject.claim().await.is_empty());
}

/// Eight schedulers at once never claim a state twice.
pub async fn eight_claimers_never_double_claim(subject: &StoreSubject) {
    let teams: Vec<i64> = (1..=40).collect();
    subject.with_teams(&teams).await;
    let claimers = (0..8).map(|_| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            // A claimer that skips what others hold may find nothing for a moment.
            for _ in 0..40 {
                let batch = store.claim(&ClaimAsk { limit: 7, ..CLAIM }).await.unwrap();
                mine.extend(batch.into_iter().map(|entry| entry.key));
                tokio::task::yield_now().await;
            }
            mine
        })
    });
    let claimed = futures_util::future::join_all(claimers).await;
    let all: Vec<ScopeKey> = claimed.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(all.len(), 120);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 120);
}

/// Jobs on the bus are counted until they are leased or queued anew.
pub async fn published_jobs_are_counted_until_leased(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let jobs: Vec<_> = subject.claim().await.into_iter().map(|entry| entry.job).collect();
    assert_eq!(subject.store.published_unleased().await.unwrap(), 0);
    subject.store.mark_published(&jobs).await.unwrap();
    subject.store.mark_published(&jobs).await.unwrap();
    assert_eq!(subject.store.published_unleased().await.unwrap(), 3);
    subject.lease(environments_of(1), 1).await;
    assert_eq!(subject.store.published_unleased().await.unwrap(), 2);
    subject.store.mark_published(&jobs).await.unwrap();
    assert_eq!(subject.store.published_unleased().await.unwrap(), 2, "a running job is not queued");
    subject.store.release(run_id(1)).await.unwrap();
    assert_eq!(subject.store.published_unleased().await.unwrap(), 2, "queued again, off the bus");
}

/// Tests of [`Store::claim`](crate::ports::store::Store::claim).
#[macro_export]
macro_rules! store_claim_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_claim:
            a_new_team_is_due_at_once, a_dispatched_state_comes_again_after_the_delay,
            a_lost_lease_makes_its_job_queued_again, a_committed_state_is_due_at_its_next_time,
            a_waiting_state_is_left_alone, the_most_urgent_is_claimed_first,
            a_backlog_is_claimed_as_far_as_there_is_room, a_short_wait_costs_no_place_in_line,
            a_resting_team_is_left_in_peace, an_open_circuit_keeps_its_teams_back,
            eight_claimers_never_double_claim, published_jobs_are_counted_until_leased);
    };
}
