//! Each script by itself: what it does when a key is missing, what it leaves
//! behind, and what it does with what it cannot read.

use std::time::Duration;

use redis::AsyncCommands as _;
use vz_sync::adapters::redis::due_queue::{BAD, DUE, IN_FLIGHT, PAYLOAD};
use vz_sync::adapters::redis::lock::name;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{Class, JobId};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::due_queue::{DueEntry, DueQueue as _, QueueDepths};
use vz_sync_actors::ports::lock::{Acquired, Lock as _};
use vz_sync_actors::testkit::fixtures::run_id;

use super::{Ground, LEASE, entry, key};

const TTL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_empty_server_is_an_empty_queue() {
    let mut ground = Ground::new().await;
    let queue = ground.queue.clone();
    assert_eq!(queue.pop(Lane::High, 9, LEASE).await.unwrap(), []);
    queue.confirm(&[key(1)]).await.unwrap();
    queue.put_back(&[key(1)]).await.unwrap();
    queue.confirm(&[]).await.unwrap();
    queue.put_back(&[]).await.unwrap();
    queue.enqueue(&[]).await.unwrap();
    assert_eq!(queue.position(key(1)).await.unwrap(), None);
    assert_eq!(queue.depths().await.unwrap(), QueueDepths::default());
    let left: Vec<String> = ground.run(&["KEYS", "*"]).await;
    assert!(left.is_empty(), "nothing was made of nothing: {left:?}");
}

#[tokio::test]
async fn an_empty_server_holds_no_lock() {
    let mut ground = Ground::new().await;
    let lock = ground.lock.clone();
    assert!(!lock.renew(key(1), run_id(1), TTL).await.unwrap());
    assert!(!lock.release(key(1), run_id(1)).await.unwrap());
    assert!(!lock.take_over(key(1), run_id(1), run_id(2), TTL).await.unwrap());
    assert_eq!(lock.holder(key(1)).await.unwrap(), None);
    let left: Vec<String> = ground.run(&["KEYS", "*"]).await;
    assert!(left.is_empty(), "nothing was made of nothing: {left:?}");
    assert_eq!(lock.acquire(key(1), run_id(1), TTL).await.unwrap(), Acquired::Yes);
    let left: i64 = ground.run(&["PTTL", "vz:sync:lock:1:environments"]).await;
    assert!(left > 59_000 && left <= 60_000, "{left} ms");
}

#[tokio::test]
async fn a_member_that_vanished_in_flight_is_nobodys() {
    let mut ground = Ground::new().await;
    ground.queue.enqueue(&[entry(1, Class::Manual), entry(2, Class::Manual)]).await.unwrap();
    assert_eq!(ground.popped(Lane::High, 9).await, [1, 2]);
    let _: () = ground.run(&["FLUSHALL"]).await;
    ground.queue.put_back(&[key(1)]).await.unwrap();
    ground.queue.confirm(&[key(2)]).await.unwrap();
    assert_eq!(ground.queue.depths().await.unwrap(), QueueDepths::default());
}

#[tokio::test]
async fn a_lost_payload_is_set_aside_when_popped_and_renewed_when_queued() {
    let mut ground = Ground::new().await;
    ground.queue.enqueue(&[entry(1, Class::Manual), entry(2, Class::Manual)]).await.unwrap();
    let _: () = ground.run(&["DEL", PAYLOAD]).await;
    ground.queue.enqueue(&[entry(2, Class::Demand)]).await.unwrap();
    assert_eq!(ground.popped(Lane::High, 9).await, [2]);
    assert_eq!(ground.queue.depths().await.unwrap().bad, 1);
    // One that was lost in flight can only be set aside, too.
    let _: () = ground.run(&["DEL", PAYLOAD]).await;
    ground.queue.put_back(&[key(2)]).await.unwrap();
    let depths = ground.queue.depths().await.unwrap();
    assert_eq!((depths.high, depths.in_flight, depths.bad), (0, 0, 2));
}

#[tokio::test]
async fn keys_live_a_day_from_the_last_touch() {
    let mut ground = Ground::new().await;
    ground.queue.enqueue(&[entry(1, Class::Manual), entry(2, Class::Manual)]).await.unwrap();
    assert_eq!(ground.popped(Lane::High, 1).await, [1]);
    for name in [DUE, IN_FLIGHT, PAYLOAD] {
        let left: i64 = ground.run(&["TTL", name]).await;
        assert!((86_390..=86_400).contains(&left), "{name} lives {left} s");
        let _: () = ground.run(&["EXPIRE", name, "100"]).await;
    }
    ground.queue.put_back(&[key(1)]).await.unwrap();
    for name in [DUE, PAYLOAD] {
        let left: i64 = ground.run(&["TTL", name]).await;
        assert!(left > 86_390, "{name} lives {left} s");
    }
}

#[tokio::test]
async fn the_payload_changes_only_with_a_better_score() {
    let mut ground = Ground::new().await;
    let first = DueEntry { job: JobId(10), ..entry(1, Class::Demand) };
    let equal = DueEntry { job: JobId(11), ..entry(1, Class::Demand) };
    let worse = DueEntry { job: JobId(12), ..entry(1, Class::Backfill) };
    let better = DueEntry { job: JobId(13), ..entry(1, Class::Manual) };
    // Within a batch as between batches.
    ground.queue.enqueue(&[first, equal, worse]).await.unwrap();
    let payload: String = ground.client.hget(PAYLOAD, "1:environments").await.unwrap();
    assert!(payload.contains(r#""job":10,"#), "{payload}");
    let score: f64 = ground.client.zscore(DUE, "1:environments").await.unwrap();
    assert!((score - 1e13 - 1.7e12).abs() < 0.5, "{score}");
    ground.queue.enqueue(std::slice::from_ref(&better)).await.unwrap();
    assert_eq!(ground.queue.pop(Lane::High, 9, LEASE).await.unwrap(), [better]);
}

#[tokio::test]
async fn the_unreadable_is_set_aside_once_and_hides_nobody() {
    let mut ground = Ground::new().await;
    ground.queue.enqueue(&[entry(1, Class::Manual), entry(2, Class::Manual)]).await.unwrap();
    let stolen: String = ground.client.hget(PAYLOAD, "1:environments").await.unwrap();
    let foreign = [
        ("no key at all", "{}"),
        ("3:environments", "not json"),
        ("4:environments", stolen.as_str()),
        ("5:cellars", "{\"key\":{\"team\":5,\"scope\":\"cellars\"},\"job\":1}"),
        ("line\nbreak", "\u{1}"),
    ];
    for (member, payload) in foreign {
        let _: () = ground.client.zadd(DUE, member, 5).await.unwrap();
        let _: () = ground.client.hset(PAYLOAD, member, payload).await.unwrap();
    }
    let _: () = ground.client.zadd(DUE, b"\xff\xfe", 6).await.unwrap();
    assert_eq!(ground.popped(Lane::High, 100).await, [1, 2], "the good ones came");
    let depths = ground.queue.depths().await.unwrap();
    assert_eq!((depths.high, depths.in_flight, depths.bad), (0, 2, 6));
    assert!(ground.popped(Lane::High, 100).await.is_empty(), "they never come again");
    let kept: String = ground.client.hget(BAD, "3:environments").await.unwrap();
    assert_eq!(kept, "5 not json", "kept for people to look at");
    // The scope itself is not banished.
    ground.queue.enqueue(&[entry(3, Class::Manual)]).await.unwrap();
    assert_eq!(ground.popped(Lane::High, 100).await, [3]);
}

#[tokio::test]
async fn a_foreign_lock_is_refused_by_name() {
    let mut ground = Ground::new().await;
    let _: () = ground.run(&["SET", &name(key(1)), "somebody"]).await;
    let refused = ground.lock.acquire(key(1), run_id(1), TTL).await.unwrap_err();
    assert!(refused.to_string().contains("vz:sync:lock:1:environments"), "{refused}");
    assert!(matches!(refused, PortError::Refused { .. }));
    assert!(!ground.lock.release(key(1), run_id(1)).await.unwrap());
}

#[tokio::test]
async fn control_a_plain_delete_releases_the_successors_lock() {
    let mut ground = Ground::new().await;
    ground.lock.acquire(key(1), run_id(2), TTL).await.unwrap();
    assert!(!ground.lock.release(key(1), run_id(1)).await.unwrap());
    assert!(ground.lock.holder(key(1)).await.unwrap().is_some());
    let _: () = ground.run(&["DEL", &name(key(1))]).await;
    assert_eq!(ground.lock.holder(key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn flushed_scripts_are_sent_again() {
    let mut ground = Ground::new().await;
    for round in 1..=3 {
        ground.queue.enqueue(&[entry(round, Class::Manual)]).await.unwrap();
        assert_eq!(ground.popped(Lane::High, 9).await, [round]);
        assert!(matches!(ground.lock.acquire(key(round), run_id(1), TTL).await, Ok(Acquired::Yes)));
        let _: () = ground.run(&["SCRIPT", "FLUSH"]).await;
    }
    let stats: String = ground.run(&["INFO", "commandstats"]).await;
    let calls = |command: &str| -> u64 {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    assert_eq!((calls("evalsha"), calls("eval")), (9, 9), "by text only when unknown");
    ground.queue.enqueue(&[entry(9, Class::Manual)]).await.unwrap();
    ground.queue.enqueue(&[entry(9, Class::Manual)]).await.unwrap();
    let stats: String = ground.run(&["INFO", "commandstats"]).await;
    assert!(stats.contains("cmdstat_eval:calls=10,"), "{stats}");
}
