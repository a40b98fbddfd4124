//! The guard: who was overtaken commits nothing, and a store without the
//! guard shows what it is good for.

use std::sync::Arc;

use futures_util::future::join_all;
use vz_sync::adapters::postgres::store::{PgStore, StoreSettings};
use vz_sync_actors::ports::store::{Applied, Store};
use vz_sync_actors::testkit::fixtures::{Environment, environments_of, insert, run_id};

use super::{Ground, full, granted, inline};

/// An old run and its successor commit at once, many times; answers how often
/// the old one got something in.
async fn old_runs_that_commit(ground: &Ground, store: &Arc<PgStore>, rounds: u64) -> usize {
    let key = environments_of(1);
    let mut won = 0;
    for round in 0..rounds {
        ground.due().await;
        let old = ground.lease(key, round * 2 + 1).await;
        assert!(store.release(run_id(round * 2 + 1)).await.unwrap());
        let job = ground.claim(key).await;
        let new = granted(store.as_ref(), key, job, round * 2 + 2).await;
        assert_eq!(new.name.fence.0, old.name.fence.0 + 1);
        let ghost = Environment::new(9000 + round as u32, 0);
        let late = full(&old, inline(vec![insert(ghost.item())]));
        let present = Environment::new(round as u32, 0);
        let fresh = full(&new, inline(vec![insert(present.item())]));
        // Several tries of the old run around the new one's commit.
        let mut tries: Vec<_> = (0..4).map(|_| late.clone()).collect();
        tries.insert(2, fresh);
        let commits = tries.into_iter().map(|apply| {
            let store = Arc::clone(store);
            tokio::spawn(async move { (apply.lease.fence, store.apply(&apply).await) })
        });
        for commit in join_all(commits).await {
            let (fence, outcome) = commit.unwrap();
            let committed = matches!(outcome, Ok(Applied::Committed { .. }));
            won += usize::from(fence == old.name.fence && committed);
        }
        let ghosts = "SELECT count(*) FROM environments WHERE id = $1";
        let row = ground.sql().await.query_one(ghosts, &[&ghost.id]).await.unwrap();
        won += row.get::<_, i64>(0) as usize;
        // The control may have ended the new run's lease for it.
        let _ = store.release(run_id(round * 2 + 2)).await;
    }
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_fence_commits_nothing_under_contention() {
    let ground = Ground::with_teams(&[1]).await;
    assert_eq!(old_runs_that_commit(&ground, &ground.store, 10).await, 0);
    let stored = ground.store.baseline(environments_of(1)).await.unwrap();
    assert_eq!(stored.environments.len(), 10, "every newer run did commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_an_older_fence_does_commit() {
    let ground = Ground::with_teams(&[1]).await;
    let (pools, keys) = (ground.pools.clone(), Arc::clone(&ground.keys));
    let open = PgStore::unguarded_for_tests(pools, keys, StoreSettings::default());
    assert!(old_runs_that_commit(&ground, &Arc::new(open), 1).await > 0);
}
