//! The exam of the archive: what leaves, what returns, what is learnt of it.

use super::store_apply::ops;
use super::{StoreSubject, unchanged};
use crate::domain::removal::{ProbeAnswer, StaleReason};
use crate::domain::{DataType, Scope, ScopeKey};
use crate::ports::store::{Annotation, ArchivedSite, Upserts};
use crate::testkit::fixtures::{Environment, environments_of, returned};

fn site(n: u32) -> Environment {
    Environment::new(n, 2)
}

/// Stale: kept, archived with its nodes, un-archived when it comes back.
pub async fn a_stale_environment_is_archived_until_it_returns(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1), site(2)]).await;
    let id = site(1).external_id();
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].stale = vec![(id.clone(), StaleReason::Deleted)];
    let nodes = site(1).node_items().into_iter();
    apply.tables[1].stale = nodes.map(|node| (node.id, StaleReason::EnvironmentGone)).collect();
    subject.apply(&apply).await;

    let baseline = subject.store.baseline(key).await.unwrap();
    assert!(baseline.environments[&id].flags.stale);
    assert_eq!(baseline.nodes.values().filter(|row| row.flags.stale).count(), 2);
    let archived = subject.reads.item(key.team, DataType::ArchivedSites, &id).await.unwrap();
    assert!(!archived.expect("archived").stale);
    let work = subject.store.archive_work(key.team, 10).await.unwrap();
    assert_eq!(work.len(), 1);
    assert_eq!((&work[0].id, work[0].env_name.as_str()), (&id, "env-00001"));
    assert_eq!(ops(subject, &id).await, ["stale"]);

    let lease = subject.lease_again(key, 3).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![returned(site(1).item())]);
    subject.apply(&apply).await;
    assert!(!subject.store.baseline(key).await.unwrap().environments[&id].flags.stale);
    assert!(subject.store.archive_work(key.team, 10).await.unwrap().is_empty());
}

/// The archive learns who deleted a site; the unknown and the oldest go first.
pub async fn the_archive_is_annotated(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let sites = [site(1), site(2), site(3)];
    subject.load(key, 1, &sites).await;
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    let stale = sites.iter().map(|site| (site.external_id(), StaleReason::Deleted));
    apply.tables[0].stale = stale.collect();
    subject.apply(&apply).await;

    let archive = ScopeKey::new(key.team, Scope::ArchivedSites);
    let lease = subject.lease(archive, 3).await;
    let mut apply = unchanged(&lease);
    let note = |n: u32, by: Option<&str>, probed: Option<ProbeAnswer>| Annotation {
        id: site(n).external_id(),
        deleted_by: by.map(ToOwned::to_owned),
        deleted_at: None,
        probed,
    };
    let unknown = Some(ProbeAnswer::Unknown);
    apply.annotations = vec![note(1, Some("bob"), Some(ProbeAnswer::Gone)), note(2, None, unknown)];
    apply.wake = Some(Scope::Environments);
    subject.apply(&apply).await;
    let order = async || {
        let work = subject.store.archive_work(key.team, 10).await.unwrap();
        let site =
            |site: ArchivedSite| (site.id.to_string(), site.annotated, site.probed_at.is_some());
        work.into_iter().map(site).collect::<Vec<_>>()
    };
    let of = |n: u32, annotated, probed| (site(n).id, annotated, probed);
    let never_asked_first = [of(3, false, false), of(1, true, true), of(2, false, true)];
    assert_eq!(order().await, never_asked_first, "an annotation buys no place");
    assert!(subject.claims(key).await.is_some(), "the environments were woken");
    let id = site(1).external_id();
    let row = subject.reads.item(key.team, DataType::ArchivedSites, &id).await.unwrap().unwrap();
    let columns: serde_json::Value = serde_json::from_str(&row.columns).unwrap();
    assert_eq!(
        (&columns["deleted_by"], &columns["last_probe_alive"]),
        (&"bob".into(), &false.into())
    );

    // Told of without being asked for; asked for without an answer.
    let lease = subject.lease_again(archive, 4).await;
    let mut apply = unchanged(&lease);
    apply.annotations = vec![note(3, Some("eve"), None), note(2, None, unknown)];
    subject.apply(&apply).await;
    let asked_longest_ago_next = [of(3, true, false), of(1, true, true), of(2, false, true)];
    assert_eq!(order().await, asked_longest_ago_next);
}

/// Tests of the archive through [`Store`](crate::ports::store::Store).
#[macro_export]
macro_rules! store_archive_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_archive:
            a_stale_environment_is_archived_until_it_returns, the_archive_is_annotated);
    };
}
