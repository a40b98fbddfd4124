//! Eight claimers at once: every member goes to one of them, and ends in one
//! place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::AsyncCommands as _;
use vz_sync::adapters::redis::due_queue::{DUE, IN_FLIGHT, PAYLOAD};
use vz_sync::adapters::redis::{RedisDueQueue, RedisLock};
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{Class, JobId, ScopeKey};
use vz_sync_actors::ports::due_queue::{DueEntry, DueQueue as _, QueueDepths};
use vz_sync_actors::ports::lock::{Acquired, Lock as _};
use vz_sync_actors::testkit::fixtures::run_id;

use super::{Ground, LEASE, entry, key};

const MEMBERS: i64 = 20_000;
const CLAIMERS: u64 = 8;
const TTL: Duration = Duration::from_secs(60);

/// Runs the same work on eight pools at once.
async fn eight<T: Send + 'static, F>(
    ground: &Ground,
    work: impl Fn(u64, RedisDueQueue) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let each = (1..=CLAIMERS)
        .map(|number| tokio::spawn(work(number, RedisDueQueue::new(ground.server.pool()))));
    join_all(each).await.into_iter().map(|ended| ended.expect("a claimer panicked")).collect()
}

async fn fill(ground: &Ground) {
    let entries: Vec<DueEntry> = (1..=MEMBERS).map(|team| entry(team, Class::Schedule)).collect();
    for batch in entries.chunks(1000) {
        ground.queue.enqueue(batch).await.unwrap();
    }
    assert_eq!(ground.queue.depths().await.unwrap().normal, MEMBERS as u64);
}

/// Nothing is left of the queue, not even a payload.
async fn is_gone(ground: &mut Ground) {
    assert_eq!(ground.queue.depths().await.unwrap(), QueueDepths::default());
    let left: Vec<String> = ground.run(&["KEYS", "*"]).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_members_each_once() {
    let mut ground = Ground::new().await;
    fill(&ground).await;
    let claimed = eight(&ground, |_, queue| async move {
        let mut mine: Vec<ScopeKey> = Vec::new();
        loop {
            let batch = queue.pop(Lane::Normal, 64, LEASE * 20).await.unwrap();
            if batch.is_empty() {
                return mine;
            }
            let keys: Vec<ScopeKey> = batch.into_iter().map(|entry| entry.key).collect();
            queue.confirm(&keys).await.unwrap();
            mine.extend(keys);
        }
    })
    .await;
    let all: Vec<ScopeKey> = claimed.into_iter().flatten().collect();
    assert_eq!(all.len() as i64, MEMBERS);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len() as i64, MEMBERS);
    is_gone(&mut ground).await;
}

/// The control: looked at first and removed afterwards, members are shared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_two_steps_share_members() {
    let ground = Ground::new().await;
    ground.queue.enqueue(&[entry(1, Class::Manual), entry(2, Class::Manual)]).await.unwrap();
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let claimers = (0..2).map(|_| {
        let (barrier, server) = (barrier.clone(), ground.server.clone());
        tokio::spawn(async move {
            let mut client = server.client().await;
            let seen: Vec<String> = client.zrangebyscore_limit(DUE, 0, 1e13, 0, 9).await.unwrap();
            barrier.wait().await;
            let _: u64 = client.zrem(DUE, &seen).await.unwrap();
            seen.len()
        })
    });
    let claimed: usize = join_all(claimers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(claimed, 4, "two members, claimed four times");
}

/// Half of what is popped goes back each time: in the end all were confirmed
/// once, and nothing was confirmed and put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_back_is_claimed_again_and_once() {
    let mut ground = Ground::new().await;
    fill(&ground).await;
    let claimed = eight(&ground, |number, queue| async move {
        let mut done: HashMap<ScopeKey, u32> = HashMap::new();
        loop {
            let batch = queue.pop(Lane::Normal, 64, LEASE * 20).await.unwrap();
            if batch.is_empty() {
                return done;
            }
            let (keep, back): (Vec<ScopeKey>, Vec<ScopeKey>) = batch
                .into_iter()
                .map(|entry| entry.key)
                .partition(|key| key.team.0.unsigned_abs() % CLAIMERS != number - 1);
            queue.put_back(&back).await.unwrap();
            queue.confirm(&keep).await.unwrap();
            for key in keep {
                *done.entry(key).or_default() += 1;
            }
        }
    })
    .await;
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    let mut seen = HashSet::new();
    for (key, times) in claimed.into_iter().flatten() {
        assert!(seen.insert(key), "{key} was confirmed by two");
        *counts.entry(times).or_default() += 1;
    }
    // A claimer may meet only its own refusals and stop early; the rest then
    // waits for one that takes them.
    let left = ground.queue.depths().await.unwrap().normal as usize;
    assert_eq!(counts.get(&1).copied().unwrap_or(0) + left, MEMBERS as usize, "{counts:?}");
    assert_eq!(counts.len(), 1, "{counts:?}");
    let _: () = ground.run(&["DEL", DUE]).await;
    let depths = ground.queue.depths().await.unwrap();
    assert_eq!(depths.in_flight, 0);
}

/// Eight schedulers claim the same scopes with different urgency.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_of_eight_scores_stays_with_its_payload() {
    let mut ground = Ground::new().await;
    eight(&ground, |number, queue| async move {
        let entries: Vec<DueEntry> = (1..=1000_i64)
            .map(|team| {
                let ahead = (team.unsigned_abs() + number) % CLAIMERS;
                let mut entry = entry(team, Class::Schedule);
                entry.deadline += Duration::from_secs(ahead);
                entry.job = JobId(ahead as i64);
                entry
            })
            .collect();
        for batch in entries.chunks(100) {
            queue.enqueue(batch).await.unwrap();
        }
    })
    .await;
    let best = ground.queue.pop(Lane::Normal, 5000, LEASE).await.unwrap();
    assert_eq!(best.len(), 1000);
    assert!(best.iter().all(|entry| entry.job == JobId(0)), "each has its best payload");
    let keys: Vec<ScopeKey> = best.iter().map(|entry| entry.key).collect();
    ground.queue.confirm(&keys).await.unwrap();
    is_gone(&mut ground).await;
}

/// Poison among the good: each is set aside once, whoever meets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_claimers_set_poison_aside() {
    let mut ground = Ground::new().await;
    let entries: Vec<DueEntry> = (1..=1000).map(|team| entry(team, Class::Schedule)).collect();
    ground.queue.enqueue(&entries).await.unwrap();
    for team in (1..=1000).step_by(10) {
        let member = key(team).to_string();
        let _: u64 = ground.client.hset(PAYLOAD, member, "poison").await.unwrap();
    }
    let claimed = eight(&ground, |_, queue| async move {
        let mut mine = 0;
        // Three empty pops: all may have been poison.
        let mut empty = 0;
        while empty < 3 {
            let batch = queue.pop(Lane::Normal, 7, LEASE * 20).await.unwrap();
            empty = if batch.is_empty() { empty + 1 } else { 0 };
            mine += batch.len();
        }
        mine
    })
    .await;
    assert_eq!(claimed.into_iter().sum::<usize>(), 900);
    let depths = ground.queue.depths().await.unwrap();
    assert_eq!((depths.normal, depths.in_flight, depths.bad), (0, 900, 100));
}

/// A lease that ends while eight look: put back once, taken once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overdue_member_goes_to_one_of_eight() {
    let mut ground = Ground::new().await;
    let entries: Vec<DueEntry> = (1..=1000).map(|team| entry(team, Class::Schedule)).collect();
    ground.queue.enqueue(&entries).await.unwrap();
    assert_eq!(ground.popped(Lane::Normal, 5000).await.len(), 1000);
    let members: Vec<String> = ground.client.zrange(IN_FLIGHT, 0, -1).await.unwrap();
    for member in members {
        let _: u64 = ground.client.zadd(IN_FLIGHT, member, 1).await.unwrap();
    }
    let claimed = eight(&ground, |_, queue| async move {
        let batch = queue.pop(Lane::Normal, 5000, LEASE * 20).await.unwrap();
        batch.len()
    })
    .await;
    assert_eq!(claimed.iter().sum::<usize>(), 1000, "{claimed:?}");
}

/// Each script of the lock: of eight at once, one succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_eight_has_the_lock() {
    let ground = Ground::new().await;
    let pools: Vec<RedisLock> =
        (0..CLAIMERS).map(|_| RedisLock::new(ground.server.pool())).collect();
    for round in 1..=50_i64 {
        let key = key(round);
        let each = |n: usize| (pools[n].clone(), run_id(n as u64 + 1));
        let acquired = join_all((0..pools.len()).map(|n| async move {
            let (lock, me) = each(n);
            lock.acquire(key, me, TTL).await.unwrap() == Acquired::Yes
        }))
        .await;
        let winner = acquired.iter().position(|won| *won).expect("somebody has it");
        assert_eq!(acquired.iter().filter(|won| **won).count(), 1);
        let dead = run_id(winner as u64 + 1);
        let taken = join_all((0..pools.len()).map(|n| async move {
            let (lock, _) = each(n);
            lock.take_over(key, dead, run_id(n as u64 + 100), TTL).await.unwrap()
        }))
        .await;
        let heir = taken.iter().position(|won| *won).expect("somebody took it");
        assert_eq!(taken.iter().filter(|won| **won).count(), 1);
        let count = |answers: Vec<bool>| answers.into_iter().filter(|yes| *yes).count();
        let renewed = join_all((0..pools.len()).map(|n| async move {
            let (lock, _) = each(n);
            lock.renew(key, run_id(n as u64 + 100), TTL).await.unwrap()
        }))
        .await;
        assert!(renewed[heir] && count(renewed) == 1);
        let released = join_all((0..pools.len()).map(|n| async move {
            let (lock, _) = each(n);
            lock.release(key, run_id(heir as u64 + 100)).await.unwrap()
        }))
        .await;
        assert_eq!(count(released), 1);
    }
}
