//! The exam of the run lock.

use std::sync::Arc;
use std::time::Duration;

use super::Pace;
use crate::ports::lock::{Acquired, Lock};
use crate::testkit::fixtures::{environments_of, run_id};

/// A lock service that holds nothing.
pub struct Subject {
    /// The adapter.
    pub lock: Arc<dyn Lock>,
    /// Its time.
    pub pace: Arc<dyn Pace>,
}

const TTL: Duration = Duration::from_mins(1);

/// The first takes it, the second learns who has it and for how long.
pub async fn one_holder_at_a_time(subject: &Subject) {
    let (key, lock) = (environments_of(1), &subject.lock);
    assert_eq!(lock.acquire(key, run_id(1), TTL).await.unwrap(), Acquired::Yes);
    match lock.acquire(key, run_id(2), TTL).await.unwrap() {
        Acquired::HeldBy(holder) => {
            assert_eq!(holder.owner, run_id(1));
            assert!(holder.remaining <= TTL && holder.remaining > TTL / 2);
        }
        Acquired::Yes => panic!("a held lock was given away"),
    }
    assert_eq!(lock.acquire(environments_of(2), run_id(2), TTL).await.unwrap(), Acquired::Yes);
    assert_eq!(lock.holder(key).await.unwrap().map(|holder| holder.owner), Some(run_id(1)));
}

/// Taking what one has extends it.
pub async fn the_owner_may_take_it_again(subject: &Subject) {
    let (key, lock) = (environments_of(1), &subject.lock);
    lock.acquire(key, run_id(1), TTL).await.unwrap();
    subject.pace.pass(TTL / 2).await;
    assert_eq!(lock.acquire(key, run_id(1), TTL).await.unwrap(), Acquired::Yes);
    subject.pace.pass(TTL * 3 / 4).await;
    assert!(lock.renew(key, run_id(1), TTL).await.unwrap());
}

/// Past its time it is anybody's.
pub async fn a_lock_expires(subject: &Subject) {
    let (key, lock) = (environments_of(1), &subject.lock);
    lock.acquire(key, run_id(1), TTL).await.unwrap();
    subject.pace.pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(lock.holder(key).await.unwrap(), None);
    assert!(!lock.renew(key, run_id(1), TTL).await.unwrap());
    assert_eq!(lock.acquire(key, run_id(2), TTL).await.unwrap(), Acquired::Yes);
    assert!(!lock.release(key, run_id(1)).await.unwrap(), "the successor's lock was released");
    assert_eq!(lock.holder(key).await.unwrap().map(|holder| holder.owner), Some(run_id(2)));
}

/// Renewing counts from now.
pub async fn a_renewed_lock_lasts(subject: &Subject) {
    let (key, lock) = (environments_of(1), &subject.lock);
    lock.acquire(key, run_id(1), TTL).await.unwrap();
    for _ in 0..4 {
        subject.pace.pass(TTL * 3 / 4).await;
        assert!(lock.renew(key, run_id(1), TTL).await.unwrap());
    }
    assert!(!lock.renew(key, run_id(2), TTL).await.unwrap());
    assert_eq!(lock.holder(key).await.unwrap().map(|holder| holder.owner), Some(run_id(1)));
}

/// Only the owner releases.
pub async fn only_the_owner_releases(subject: &Subject) {
    let (key, lock) = (environments_of(1), &subject.lock);
    lock.acquire(key, run_id(1), TTL).await.unwrap();
    assert!(!lock.release(key, run_id(2)).await.unwrap());
    assert!(lock.release(key, run_id(1)).await.unwrap());
    assert!(!lock.release(key, run_id(1)).await.unwrap());
    assert_eq!(lock.holder(key).await.unwrap(), None);
}

/// A dead run's lock passes on by compare-and-set.
pub async fn a_dead_owner_is_taken_over(subject: &Subject) {
    let (key, lock) = (environments_of(1), &subject.lock);
    lock.acquire(key, run_id(1), TTL).await.unwrap();
    assert!(!lock.take_over(key, run_id(9), run_id(2), TTL).await.unwrap());
    assert!(lock.take_over(key, run_id(1), run_id(2), TTL).await.unwrap());
    assert!(!lock.take_over(key, run_id(1), run_id(3), TTL).await.unwrap());
    assert_eq!(lock.holder(key).await.unwrap().map(|holder| holder.owner), Some(run_id(2)));
}

/// Eight at once: one gets it.
pub async fn eight_takers_one_holder(subject: &Subject) {
    let takers = (1..=8).map(|n| {
        let lock = Arc::clone(&subject.lock);
        tokio::spawn(async move { lock.acquire(environments_of(1), run_id(n), TTL).await.unwrap() })
    });
    let answers = futures_util::future::join_all(takers).await;
    let won = answers.into_iter().filter(|answer| matches!(answer, Ok(Acquired::Yes))).count();
    assert_eq!(won, 1);
}

/// Tests of a [`Lock`] adapter; see [`conformance`](super).
#[macro_export]
macro_rules! lock_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, lock:
            one_holder_at_a_time, the_owner_may_take_it_again, a_lock_expires,
            a_renewed_lock_lasts, only_the_owner_releases, a_dead_owner_is_taken_over,
            eight_takers_one_holder);
    };
}
