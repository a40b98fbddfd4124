//! The exam of heartbeats and of taking over.

use std::sync::Arc;
use std::time::Duration;

use super::{StoreSubject, unchanged};
use crate::domain::JobState;
use crate::ports::replicas::{Fleet, Freed};
use crate::ports::store::Applied;
use crate::testkit::fixtures::{
    DEAD_AFTER, LEASE_TTL, environments_of, replica, replica_id, run_id,
};

/// The living are counted with their permits; the silent are not.
pub async fn the_living_are_counted(subject: &StoreSubject) {
    let one = subject.replicas.heartbeat(&replica(1), DEAD_AFTER).await.unwrap();
    assert_eq!(one, Fleet { replicas: 1, permits: 5 });
    let two = subject.replicas.heartbeat(&replica(2), DEAD_AFTER).await.unwrap();
    assert_eq!(two, Fleet { replicas: 2, permits: 10 });
    subject.pace.pass(DEAD_AFTER * 2).await;
    let alone = subject.replicas.heartbeat(&replica(2), DEAD_AFTER).await.unwrap();
    assert_eq!(alone, Fleet { replicas: 1, permits: 5 });
    let list = subject.replicas.list(DEAD_AFTER).await.unwrap();
    let alive: Vec<_> = list.iter().map(|view| (view.id, view.alive)).collect();
    assert!(alive.contains(&(replica_id(1), false)) && alive.contains(&(replica_id(2), true)));
    subject.replicas.leave(replica_id(1)).await.unwrap();
    subject.replicas.leave(replica_id(1)).await.unwrap();
    assert_eq!(subject.replicas.list(DEAD_AFTER).await.unwrap().len(), 1);
}

/// Of replicas that join at once at most one may think that it has the request
/// limits for itself.
pub async fn of_many_that_join_at_once_one_is_alone(subject: &StoreSubject) {
    let joins = (1..=8).map(|n| {
        let replicas = Arc::clone(&subject.replicas);
        tokio::spawn(async move { replicas.heartbeat(&replica(n), DEAD_AFTER).await.unwrap() })
    });
    let fleets = futures_util::future::join_all(joins).await;
    let alone = fleets.into_iter().map(Result::unwrap).filter(|fleet| fleet.replicas == 1);
    assert!(alone.count() <= 1);
    let all = subject.replicas.heartbeat(&replica(1), DEAD_AFTER).await.unwrap();
    assert_eq!(all.replicas, 8);
}

/// A replica's runs are told.
pub async fn running_leases_are_counted(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    subject.lease(environments_of(1), 1).await;
    let list = subject.replicas.list(DEAD_AFTER).await.unwrap();
    assert_eq!((list[0].running, list[0].host.as_str()), (1, "host-1"));
}

/// A dead owner's leases are freed, its jobs queued with their attempts kept;
/// a living owner's are not touched.
pub async fn a_dead_owners_leases_are_freed(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    assert!(subject.replicas.reap(DEAD_AFTER).await.unwrap().is_empty());
    subject.pace.pass(DEAD_AFTER + Duration::from_secs(1)).await;
    let freed = subject.replicas.reap(DEAD_AFTER).await.unwrap();
    assert_eq!(freed, [Freed { key, run: run_id(1) }]);
    assert!(subject.replicas.reap(DEAD_AFTER).await.unwrap().is_empty());
    let job = subject.job(key, lease.name.job).await;
    assert_eq!((job.state, job.attempt), (JobState::Queued, 1));
    assert_eq!(subject.store.apply(&unchanged(&lease)).await.unwrap(), Applied::Overtaken);
    assert_eq!(subject.claims(key).await.map(|entry| entry.job), Some(lease.name.job));
}

/// A lease whose own time has passed is freed even though its owner lives.
pub async fn an_expired_lease_is_freed(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.lease(key, 1).await;
    subject.pace.pass(LEASE_TTL + Duration::from_secs(1)).await;
    subject.beat(1).await;
    let freed = subject.replicas.reap(DEAD_AFTER).await.unwrap();
    assert_eq!(freed, [Freed { key, run: run_id(1) }]);
}

/// Tests of a [`Replicas`](crate::ports::replicas::Replicas) adapter.
#[macro_export]
macro_rules! replicas_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, replicas:
            the_living_are_counted, of_many_that_join_at_once_one_is_alone, running_leases_are_counted, a_dead_owners_leases_are_freed,
            an_expired_lease_is_freed);
    };
}
