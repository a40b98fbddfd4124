//! The exam of held removals.

use std::time::Duration;

use super::{StoreSubject, unchanged};
use crate::domain::baseline::HoldState;
use crate::domain::removal::{HoldChange, MissingReason, StaleReason};
use crate::domain::{DataType, EventBody, ExternalId, HoldId, TeamId};
use crate::ports::store::{Applied, Upserts};
use crate::testkit::fixtures::{Environment, environments_of, returned};

fn sites() -> Vec<Environment> {
    (1..=6).map(|n| Environment::new(n, 1)).collect()
}

fn ids() -> Vec<ExternalId> {
    sites().iter().map(Environment::external_id).collect()
}

/// Six environments, all of them missing and held.
async fn held(subject: &StoreSubject) -> HoldId {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &sites()).await;
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].missing = ids().into_iter().map(|id| (id, MissingReason::Held)).collect();
    apply.holds = vec![HoldChange::Open {
        data_type: DataType::Environments,
        items: ids(),
        of: 6,
        reason: "empty_listing".to_owned(),
    }];
    let Applied::Committed { held, .. } = subject.store.apply(&apply).await.unwrap() else {
        panic!("overtaken")
    };
    assert_eq!(held.len(), 1);
    held[0]
}

async fn change(subject: &StoreSubject, run: u64, hold: HoldChange) {
    let lease = subject.lease_again(environments_of(1), run).await;
    let mut apply = unchanged(&lease);
    apply.holds = vec![hold];
    subject.apply(&apply).await;
}

/// A held set is listed, told, bound to later runs, and its rows are served.
pub async fn a_held_set_is_shown_and_told(subject: &StoreSubject) {
    let id = held(subject).await;
    let key = environments_of(1);
    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!(baseline.holds.len(), 1);
    let hold = &baseline.holds[0];
    assert_eq!((hold.id, hold.state, hold.agreeing_listings), (id, HoldState::Held, 0));
    assert_eq!(hold.items.len(), 6);
    assert!(baseline.environments.values().all(|row| row.flags.held && !row.flags.stale));
    let rows = subject.reads.holds(key.team, false).await.unwrap();
    assert_eq!((rows[0].id, rows[0].of, rows[0].reason.as_str()), (id, 6, "empty_listing"));
    let events = subject.events(key.team).await;
    let told = events.iter().find_map(|event| match &event.body {
        EventBody::RemovalsHeld(held) => Some((held.hold_id, held.count, held.of)),
        _ => None,
    });
    assert_eq!(told, Some((id, 6, 6)));
    let facts = subject.reads.freshness(key.team, &[DataType::Environments]).await.unwrap();
    assert_eq!(facts[0].holds, 1);
    assert!(subject.reads.holds(TeamId(2), true).await.unwrap().is_empty());
}

/// A person releases: the scope is due at once, and the planner sees it until
/// the rows are gone.
pub async fn a_released_set_binds_until_it_is_carried_out(subject: &StoreSubject) {
    let id = held(subject).await;
    let key = environments_of(1);
    assert_eq!(subject.claims(key).await, None);
    assert!(!subject.store.decide_hold(TeamId(2), id, true, "mallory").await.unwrap());
    assert!(subject.store.decide_hold(key.team, id, true, "alice").await.unwrap());
    assert!(!subject.store.decide_hold(key.team, id, false, "bob").await.unwrap());
    let lease = subject.lease(key, 3).await;
    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!(baseline.holds[0].state, HoldState::Released);
    let mut apply = unchanged(&lease);
    let stale = ids().into_iter().map(|id| (id, StaleReason::HoldReleased));
    apply.tables[0].stale = stale.collect();
    apply.holds = vec![HoldChange::Release { id }];
    subject.apply(&apply).await;
    assert!(subject.store.baseline(key).await.unwrap().holds.is_empty());
    assert!(subject.reads.holds(key.team, false).await.unwrap().is_empty());
    let all = subject.reads.holds(key.team, true).await.unwrap();
    assert_eq!((all[0].state.as_str(), all[0].decided_by.as_deref()), ("released", Some("alice")));
}

/// A person rejects: the rows are served on, and the planner is reminded.
pub async fn a_rejected_set_is_served_on(subject: &StoreSubject) {
    let id = held(subject).await;
    let key = environments_of(1);
    assert!(subject.store.decide_hold(key.team, id, false, "alice").await.unwrap());
    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!(baseline.holds[0].state, HoldState::Rejected);
    assert!(baseline.holds[0].decided_at.is_some());
    assert!(baseline.environments.values().all(|row| !row.flags.held && !row.flags.stale));
}

/// Later listings agree, rows return, and an emptied set expires.
pub async fn listings_move_a_hold(subject: &StoreSubject) {
    let id = held(subject).await;
    let key = environments_of(1);
    change(subject, 3, HoldChange::Agree { id }).await;
    assert_eq!(subject.store.baseline(key).await.unwrap().holds[0].agreeing_listings, 1);

    let lease = subject.lease_again(key, 4).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![returned(sites()[0].item())]);
    apply.holds = vec![HoldChange::Shrink { id, returned: vec![ids()[0].clone()] }];
    subject.apply(&apply).await;
    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!(baseline.holds[0].items.len(), 5);
    assert!(!baseline.environments[&ids()[0]].flags.any());

    change(subject, 5, HoldChange::Expire { id }).await;
    assert!(subject.store.baseline(key).await.unwrap().holds.is_empty());
    let all = subject.reads.holds(key.team, true).await.unwrap();
    assert_eq!(all[0].state, "expired");
    assert!(!subject.store.decide_hold(key.team, id, true, "alice").await.unwrap());
    subject.pace.pass(Duration::from_secs(1)).await;
}

/// A set that joins the one that waits is told of again, and agreement counts
/// anew for both: what came later was not missed before.
pub async fn a_set_that_joins_counts_anew(subject: &StoreSubject) {
    let id = held(subject).await;
    let key = environments_of(1);
    let waiting = async || {
        let holds = subject.store.baseline(key).await.unwrap().holds;
        assert_eq!(holds.len(), 1);
        (holds[0].agreeing_listings, holds[0].counted_at, holds[0].items.len())
    };
    let (_, made, _) = waiting().await;
    subject.pace.pass(Duration::from_mins(20)).await;
    change(subject, 3, HoldChange::Agree { id }).await;
    let (agreeing, agreed, _) = waiting().await;
    // The pace may move stored times instead of the clock.
    assert!(agreeing == 1 && agreed > made - Duration::from_mins(1), "{made} to {agreed}");

    subject.pace.pass(Duration::from_mins(20)).await;
    let lease = subject.lease_again(key, 4).await;
    let late = ExternalId::from("appid-00099");
    let mut apply = unchanged(&lease);
    apply.holds = vec![HoldChange::Open {
        data_type: DataType::Environments,
        items: vec![late.clone()],
        of: 7,
        reason: "over_percentage".to_owned(),
    }];
    let Applied::Committed { held, .. } = subject.store.apply(&apply).await.unwrap() else {
        panic!("overtaken")
    };
    assert_eq!(held, [id], "the open one grows");
    let (agreeing, counted, items) = waiting().await;
    assert_eq!((agreeing, items), (0, 7));
    let age = lease.database_now - counted;
    assert!(age < Duration::from_mins(10), "it counts from this listing on: {age}");
    let events = subject.events(key.team).await;
    let told = events.iter().filter_map(|event| match &event.body {
        EventBody::RemovalsHeld(held) => Some((held.hold_id, held.count, held.of)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(id, 6, 6), (id, 7, 7)]);
}

/// Tests of holds through [`Store`](crate::ports::store::Store).
#[macro_export]
macro_rules! store_holds_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_holds:
            a_held_set_is_shown_and_told, a_released_set_binds_until_it_is_carried_out,
            a_rejected_set_is_served_on, listings_move_a_hold, a_set_that_joins_counts_anew);
    };
}
