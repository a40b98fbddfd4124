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

/// A second set joins the one that waits: it is told anew, and agreement begins
/// anew, spaced from then on.
pub async fn a_hold_that_grows_begins_anew(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &sites()).await;
    let hold = |ids: &[ExternalId], of, reason: &str| HoldChange::Open {
        data_type: DataType::Environments,
        items: ids.to_vec(),
        of,
        reason: reason.to_owned(),
    };
    change(subject, 2, hold(&ids()[..4], 6, "over_percentage")).await;
    let first = subject.store.baseline(key).await.unwrap().holds.remove(0);
    assert_eq!((first.enlarged_at, first.last_agreed_at), (None, None));
    assert_eq!(first.last_word_at(), first.created_at);

    change(subject, 3, HoldChange::Agree { id: first.id }).await;
    let agreed = subject.store.baseline(key).await.unwrap().holds.remove(0);
    assert_eq!(agreed.agreeing_listings, 1);
    let apart = agreed.last_word_at() - agreed.created_at;
    assert!(apart >= Duration::from_hours(2), "the listing that agreed counts: {apart}");

    let lease = subject.lease_again(key, 4).await;
    let mut apply = unchanged(&lease);
    // One of them is in it already.
    apply.holds = vec![hold(&ids()[3..], 5, "empty_listing")];
    let Applied::Committed { held, .. } = subject.store.apply(&apply).await.unwrap() else {
        panic!("overtaken")
    };
    assert_eq!(held, [first.id]);
    let grown = subject.store.baseline(key).await.unwrap().holds.remove(0);
    assert_eq!((grown.id, grown.items.len(), grown.agreeing_listings), (first.id, 6, 0));
    assert_eq!(grown.last_agreed_at, None);
    assert_eq!(Some(grown.last_word_at()), grown.enlarged_at);
    let apart = grown.last_word_at() - grown.created_at;
    assert!(apart >= Duration::from_hours(4), "spacing counts from the growth: {apart}");
    let rows = subject.reads.holds(key.team, false).await.unwrap();
    assert_eq!((rows[0].of, rows[0].reason.as_str()), (5, "empty_listing"));
    let told: Vec<_> = subject
        .events(key.team)
        .await
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::RemovalsHeld(held) => Some((held.hold_id, held.count, held.of)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(first.id, 4, 6), (first.id, 6, 5)]);
}

/// Tests of holds through [`Store`](crate::ports::store::Store).
#[macro_export]
macro_rules! store_holds_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_holds:
            a_held_set_is_shown_and_told, a_released_set_binds_until_it_is_carried_out,
            a_rejected_set_is_served_on, listings_move_a_hold,
            a_hold_that_grows_begins_anew);
    };
}
