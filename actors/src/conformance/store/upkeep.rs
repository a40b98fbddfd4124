//! The exam of housekeeping.

use std::time::Duration;

use super::{StoreSubject, unchanged};
use crate::domain::{DataType, TeamId};
use crate::ports::upkeep::Retention;
use crate::testkit::fixtures::{DEAD_AFTER, Environment, environments_of, insert, malformed};

/// What is older than its retention goes, what is younger stays.
pub async fn what_is_old_goes(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[Environment::new(1, 1)]).await;
    let nothing = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!((nothing.jobs, nothing.outbox, nothing.team_rows), (0, 0, 0));
    subject.pace.pass(Duration::from_hours(15 * 24)).await;
    let lease = subject.lease(key, 2).await;
    subject.apply(&unchanged(&lease)).await;
    let tidied = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!(tidied.jobs, 1);
    assert!(tidied.outbox <= 1);
    let jobs = subject.reads.jobs(key.team, Some(key.scope), None, 10).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(subject.store.baseline(key).await.unwrap().environments.len(), 1);
}

/// Quarantined elements go that were not seen for long; one that keeps coming
/// stays.
pub async fn forgotten_quarantine_goes(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[Environment::new(1, 0)]).await;
    let odd = |lease: &_, ids: &[&str]| {
        let mut apply = unchanged(lease);
        apply.tables[0].quarantined = ids.iter().map(|id| malformed(id)).collect();
        apply
    };
    let lease = subject.lease_again(key, 2).await;
    subject.apply(&odd(&lease, &["appid-00001", "appid-00002"])).await;
    subject.pace.pass(Duration::from_hours(29 * 24)).await;
    let lease = subject.lease(key, 3).await;
    subject.apply(&odd(&lease, &["appid-00001"])).await;
    let tidied = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!(tidied.quarantine, 0);
    subject.pace.pass(Duration::from_hours(2 * 24)).await;
    let tidied = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!(tidied.quarantine, 1);
}

/// Replicas that were not seen for long are forgotten.
pub async fn silent_replicas_are_forgotten(subject: &StoreSubject) {
    subject.beat(1).await;
    subject.pace.pass(Duration::from_hours(30)).await;
    subject.beat(2).await;
    let tidied = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!(tidied.replicas, 1);
    assert_eq!(subject.replicas.list(DEAD_AFTER).await.unwrap().len(), 1);
}

/// Staging rows of runs that are over are cleared; a live run's are kept.
pub async fn orphaned_staging_is_cleared(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let rows = vec![insert(Environment::new(1, 0).item())];
    subject.store.stage(&lease.name, rows).await.unwrap();
    let kept = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!(kept.staging, 0);
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = crate::ports::store::Upserts::Staged;
    subject.apply(&apply).await;
    assert_eq!(subject.store.baseline(key).await.unwrap().environments.len(), 1);
}

/// A removed team's rows go after their retention, nobody else's.
pub async fn a_removed_teams_rows_go(subject: &StoreSubject) {
    subject.with_teams(&[1, 2]).await;
    subject.load(environments_of(1), 1, &[Environment::new(1, 1)]).await;
    subject.load(environments_of(2), 2, &[Environment::new(1, 1)]).await;
    subject.teams.remove(TeamId(1)).await.unwrap();
    subject.pace.pass(Duration::from_hours(31 * 24)).await;
    let mut gone = 0;
    // Batches may need several sweeps.
    for _ in 0..5 {
        let tidied = subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
        gone += tidied.team_rows;
    }
    assert!(gone >= 2, "{gone}");
    let id = Environment::new(1, 1).external_id();
    let theirs = subject.reads.item(TeamId(1), DataType::Environments, &id).await.unwrap();
    assert!(theirs.is_none());
    let others = subject.reads.item(TeamId(2), DataType::Environments, &id).await.unwrap();
    assert!(others.is_some());
}

/// Tests of an [`Upkeep`](crate::ports::upkeep::Upkeep) adapter.
#[macro_export]
macro_rules! upkeep_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, upkeep:
            what_is_old_goes, forgotten_quarantine_goes, silent_replicas_are_forgotten, orphaned_staging_is_cleared,
            a_removed_teams_rows_go);
    };
}
