//! Scenes with several actors at once: claimers, scopes, endings.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use vz_sync_actors::domain::retry::Sustained;
use vz_sync_actors::domain::{Failure, FailureClass, JobState, Scope, ScopeKey, TeamId};
use vz_sync_actors::ports::store::{Applied, Ending, Settlement, Store, Upserts};
use vz_sync_actors::testkit::fixtures::CLAIM;

use super::{Ground, full, granted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_claimers_share_out_every_state_once() {
    let teams: Vec<i64> = (1..=40).collect();
    let ground = Ground::with_teams(&teams).await;
    let claimers = (0..8).map(|_| {
        let store = Arc::clone(&ground.store);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            for _ in 0..20 {
                mine.extend(store.claim(&CLAIM).await.unwrap());
            }
            mine
        })
    });
    let claimed: Vec<_> = join_all(claimers).await.into_iter().flat_map(Result::unwrap).collect();
    let keys: HashSet<ScopeKey> = claimed.iter().map(|entry| entry.key).collect();
    assert_eq!((claimed.len(), keys.len()), (120, 120));
}

/// All scopes of a team end at once, well or badly: the numbers of their
/// events follow each other, and each job has exactly one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_numbers_have_no_gaps_across_scopes() {
    let ground = Ground::with_teams(&[1]).await;
    let mut run = 0;
    for round in 0..8 {
        ground.due().await;
        let claimed = ground.store.claim(&CLAIM).await.unwrap();
        assert_eq!(claimed.len(), Scope::ALL.len());
        let mut ends = Vec::new();
        for entry in claimed {
            run += 1;
            let lease = granted(ground.store.as_ref(), entry.key, entry.job, run).await;
            let store = Arc::clone(&ground.store);
            ends.push(tokio::spawn(async move {
                if round % 3 == 0 {
                    let failure = Failure::new(FailureClass::Retryable, "http_503", "no answer");
                    let wait = std::time::Duration::ZERO;
                    let ending = Ending::GaveUp { failure, state: JobState::Failed, wait };
                    let sustained = Sustained::No;
                    store
                        .settle(&Settlement { lease: lease.name, ending, sustained })
                        .await
                        .unwrap();
                } else {
                    let apply = full(&lease, Upserts::Inline(Vec::new()));
                    let applied = store.apply(&apply).await.unwrap();
                    assert!(matches!(applied, Applied::Committed { .. }));
                }
            }));
        }
        for end in join_all(ends).await {
            end.unwrap();
        }
    }
    let sql = ground.sql().await;
    let numbers =
        "SELECT array_agg(event_no ORDER BY event_no) FROM sync_outbox WHERE team_id = $1";
    let numbers: Vec<i64> = sql.query_one(numbers, &[&TeamId(1).0]).await.unwrap().get(0);
    assert_eq!(numbers, (1..=24).collect::<Vec<_>>());
    let odd = "SELECT count(*) FROM vz_sync_jobs j WHERE state IN ('succeeded', 'failed')
               AND (SELECT count(*) FROM sync_outbox o WHERE o.job_id = j.id) <> 1";
    assert_eq!(sql.query_one(odd, &[]).await.unwrap().get::<_, i64>(0), 0);
    // Created in the order of their numbers, so a tail by time misses none.
    let order = "SELECT count(*) FROM (SELECT created_at, lag(created_at) OVER (ORDER BY event_no) AS before
                 FROM sync_outbox) e WHERE created_at < before";
    assert_eq!(sql.query_one(order, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn the_installation_key_is_made_once_and_shared() {
    use secrecy::ExposeSecret as _;
    let ground = Ground::new().await;
    let keys = join_all((0..4).map(|_| ground.store.raw_version_key())).await;
    let keys: HashSet<String> =
        keys.into_iter().map(|key| key.unwrap().expose_secret().to_owned()).collect();
    assert_eq!(keys.len(), 1);
    let key = keys.into_iter().next().unwrap();
    assert_eq!(key.len(), 64);
    let sealed: Vec<u8> = ground
        .sql()
        .await
        .query_one("SELECT raw_version_key_sealed FROM installation", &[])
        .await
        .unwrap()
        .get(0);
    assert!(!String::from_utf8_lossy(&sealed).contains(&key));
}
