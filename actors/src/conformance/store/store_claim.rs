//! The exam of the claim: what is runnable, once each, most urgent first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{StoreSubject, ended, unchanged};
use crate::domain::{Class, JobState, PlatformId, Scope, ScopeKey, TeamId};
use crate::ports::store::Ending;
use crate::ports::teams::Rollout;
use crate::testkit::fixtures::{LEASE_TTL, REDISPATCH, environments_of, pause, run_id};

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
    let claimed = subject.store.claim(2, REDISPATCH).await.unwrap();
    assert_eq!(claimed[0].key, environments_of(3));
    assert_eq!(claimed[0].class, Class::Manual);
    assert_eq!(claimed[1].key.team, TeamId(1));
    assert_eq!(claimed.len(), 2);
}

/// Nothing is claimed for teams that rest, and all of it once they do not.
pub async fn a_resting_team_is_left_in_peace(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let team = TeamId(1);
    subject.teams.set_paused(team, Some(pause("holidays"))).await.unwrap();
    assert!(subject.claim().await.is_empty());
    subject.teams.set_paused(team, None).await.unwrap();

    let nobody = Rollout { enabled: true, ..Rollout::default() };
    subject.teams.set_rollout(&nobody, "tester").await.unwrap();
    assert!(subject.claim().await.is_empty());
    let off = Rollout { everyone: true, ..Rollout::default() };
    subject.teams.set_rollout(&off, "tester").await.unwrap();
    assert!(subject.claim().await.is_empty());
    let listed = Rollout { enabled: true, teams: vec![team], ..Rollout::default() };
    subject.teams.set_rollout(&listed, "tester").await.unwrap();

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
    assert!(subject.platforms.connection_failed(platform, 1, open_for, "no answer").await.unwrap());
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
                let batch = store.claim(7, REDISPATCH).await.unwrap();
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

/// A job that is claimed again, because its message did not lead to a lease in
/// time, is off the bus: lost messages must not use up the room on it for ever.
pub async fn a_lost_message_makes_room(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let jobs: Vec<_> = subject.claim().await.into_iter().map(|entry| entry.job).collect();
    subject.store.mark_published(&jobs).await.unwrap();
    subject.pace.pass(REDISPATCH / 2).await;
    assert!(subject.claim().await.is_empty());
    assert_eq!(subject.store.published_unleased().await.unwrap(), 3, "still on their way");
    subject.pace.pass(REDISPATCH).await;
    assert_eq!(subject.claim().await.len(), 3);
    assert_eq!(subject.store.published_unleased().await.unwrap(), 0);
    subject.store.mark_published(&jobs[..1]).await.unwrap();
    assert_eq!(subject.store.published_unleased().await.unwrap(), 1);
}

/// Tests of [`Store::claim`](crate::ports::store::Store::claim).
#[macro_export]
macro_rules! store_claim_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_claim:
            a_new_team_is_due_at_once, a_dispatched_state_comes_again_after_the_delay,
            a_lost_lease_makes_its_job_queued_again, a_committed_state_is_due_at_its_next_time,
            a_waiting_state_is_left_alone, the_most_urgent_is_claimed_first,
            a_resting_team_is_left_in_peace, an_open_circuit_keeps_its_teams_back,
            eight_claimers_never_double_claim, published_jobs_are_counted_until_leased,
            a_lost_message_makes_room);
    };
}
