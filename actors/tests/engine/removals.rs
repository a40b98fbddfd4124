//! Never delete because of a hiccup, and do not keep what is gone.

use std::time::Duration;

use vz_sync_actors::domain::{DataType, EventBody, Mode, PartialReason};
use vz_sync_actors::ports::reads::{ChangeQuery, Reads as _};
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::Environment;
use vz_sync_actors::testkit::platform::{Behaviour, Method};

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn a_deletion_is_confirmed_by_a_probe_in_the_same_run() {
    let (mut universe, team) = one_team(10, 2).await;
    let gone = Environment::new(4, 2);
    universe.platform.with_world(team, |world| drop(world.environments.remove(3)));
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.stale, counts.missing), (3, 0), "with its two nodes: {counts:?}");
    assert_eq!(universe.platform.count(team, Method::Account), 1, "whose key it is comes first");
    assert_eq!(universe.platform.count(team, Method::Environment), 1);
    let id = gone.external_id();
    let stale = row(&universe, team, DataType::Environments, &id).await.unwrap();
    assert!(stale.stale && !stale.needs_validation);
    let archived = row(&universe, team, DataType::ArchivedSites, &id).await;
    assert!(archived.is_some(), "its last snapshot is kept");

    // Back again: un-stale and out of the archive.
    universe.platform.with_world(team, |world| world.environments.push(gone));
    let counts = universe.sync(team, Environments).await.counts.unwrap();
    assert_eq!(counts.returned, 3, "{counts:?}");
    assert!(!row(&universe, team, DataType::Environments, &id).await.unwrap().stale);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_listing_lost_and_the_probe_finds_stays() {
    let (mut universe, team) = one_team(10, 1).await;
    let verified = verified_at(&universe, team, DataType::Environments).await;
    let cut = Behaviour::Forgets(9);
    universe.platform.next(team, Method::Environments, cut);
    let ended = universe.sync(team, Environments).await;
    assert_eq!(ended.counts.unwrap().stale, 0);
    let id = Environment::new(10, 1).external_id();
    assert!(!row(&universe, team, DataType::Environments, &id).await.unwrap().stale);
    let now = verified_at(&universe, team, DataType::Environments).await;
    assert_eq!(now, verified, "a listing that is proved wrong verifies nothing");
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_listing_of_thirty_environments_is_held() {
    let (mut universe, team) = one_team(30, 1).await;
    // An empty answer while a probe finds one of them proves nothing at all.
    universe.platform.next(team, Method::Environments, Behaviour::Empty);
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.stale, counts.missing), (0, 0), "{counts:?}");
    // Where the probes do not contradict it, it is held all the same.
    let all = universe.platform.with_world(team, |world| std::mem::take(&mut world.environments));
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.stale, counts.held), (0, 30), "{counts:?}");
    let held = universe.wait_for(team, |e| matches!(e.body, EventBody::RemovalsHeld(_))).await;
    let EventBody::RemovalsHeld(held) = held.body else { unreachable!() };
    assert_eq!((held.count, held.of, held.job_id), (30, 30, ended.id));
    assert_eq!(universe.store.holds(team, false).await.unwrap().len(), 1);
    let id = Environment::new(1, 1).external_id();
    let served = row(&universe, team, DataType::Environments, &id).await.unwrap();
    assert!(!served.stale && served.needs_validation);

    // All of them are back in the next listing: the hold is over.
    universe.platform.with_world(team, |world| world.environments = all);
    let counts = universe.sync(team, Environments).await.counts.unwrap();
    assert_eq!(counts.returned, 30, "{counts:?}");
    assert!(universe.store.holds(team, false).await.unwrap().is_empty());
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_partial_listing_removes_nothing_and_verifies_nothing() {
    let (mut universe, team) = one_team(10, 1).await;
    let verified = verified_at(&universe, team, DataType::Environments).await;
    pass(secs(30)).await;
    universe.platform.with_world(team, |world| {
        world.environments[0].status = 2;
        world.environments.truncate(9);
    });
    let cut = Behaviour::CutAfter(3, PartialReason::Truncated);
    universe.platform.next(team, Method::Environments, cut);
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    // The good elements are written: one environment and its node.
    assert_eq!((counts.updated, counts.missing, counts.stale), (2, 0, 0), "{counts:?}");
    assert_eq!(verified_at(&universe, team, DataType::Environments).await, verified);
    let EventBody::Completed(completed) = &events_of(&universe, team, ended.id)[0].body else {
        panic!("no completion");
    };
    assert_eq!(completed.partial.as_deref(), Some("truncated"));
    let scope = universe.scope(team, Environments);
    assert!(scope.requested_at.is_some(), "the request stands");
    assert_eq!(scope.failures, 1);
    // And it is served by the next run, soon.
    let answered = || universe.scope(team, Environments).requested_at.is_none();
    universe.until("the request is answered", answered).await;
    assert_eq!(universe.scope(team, Environments).failures, 0);
    assert!(verified_at(&universe, team, DataType::Environments).await > verified);
    let id = Environment::new(10, 1).external_id();
    assert!(row(&universe, team, DataType::Environments, &id).await.unwrap().stale);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_account_removes_nothing() {
    let log = Log::listen();
    let (mut universe, team) = one_team(10, 1).await;
    assert!(log.of("auth_violation").is_empty(), "the Owner's key violates nothing");
    universe.platform.with_world(team, |world| {
        world.uid = 4711;
        world.environments.clear();
    });
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.stale, counts.missing, counts.held), (0, 0, 0), "{counts:?}");
    let EventBody::Completed(completed) = &events_of(&universe, team, ended.id)[0].body else {
        panic!("no completion");
    };
    assert!(completed.partial.is_some());
    let told = log.of("auth_violation");
    assert_eq!(told, [("1".to_owned(), "account_mismatch".to_owned())]);
    universe.shutdown().await;
}

/// It cannot be read, but it is there: no reason to remove it.
#[tokio::test(start_paused = true)]
async fn a_probe_that_finds_a_broken_environment_discredits_the_listing() {
    let (mut universe, team) = one_team(10, 1).await;
    universe.platform.next(team, Method::Environments, Behaviour::Forgets(9));
    universe.platform.next(team, Method::Environment, Behaviour::Garbled);
    let counts = universe.sync(team, Environments).await.counts.unwrap();
    assert_eq!((counts.stale, counts.missing), (0, 0), "{counts:?}");
    let id = Environment::new(10, 1).external_id();
    let row = row(&universe, team, DataType::Environments, &id).await.unwrap();
    assert!(!row.stale && !row.needs_validation);
    universe.shutdown().await;
}

/// A first load that broke off comes again at once, in the same mode, although
/// nobody asked for it.
#[tokio::test(start_paused = true)]
async fn a_first_load_that_broke_off_comes_again_soon_and_is_still_the_first() {
    let mut universe = Universe::new(1);
    let team = universe.team(1, 10, 1).await;
    let cut = Behaviour::CutAfter(4, PartialReason::Truncated);
    universe.platform.next(team, Method::Environments, cut);
    let began = universe.wall();
    universe.start_replica().await;
    let whole = || universe.scope(team, Environments).last_full_at.is_some();
    universe.until("the load is complete", whole).await;
    let took = universe.wall() - began;
    assert!(took < Duration::from_secs(20), "soon, not with the next delta: {took}");
    assert_eq!(universe.platform.count(team, Method::Environments), 2);
    assert_eq!(universe.scope(team, Environments).last_mode, Some(Mode::Full));
    let query = ChangeQuery { team, after: 0, data_type: None, id: None, limit: 100 };
    let changes = universe.store.changes(&query).await.unwrap();
    assert_eq!(changes, [], "a first load writes no changes, in however many parts it comes");
    universe.settle().await;
    universe.shutdown().await;
}

/// What is byte for byte the last listing verifies and is not looked at again;
/// unless something is in doubt.
#[tokio::test(start_paused = true)]
async fn an_equal_body_verifies_without_a_plan() {
    let (mut universe, team) = one_team(10, 2).await;
    let verified = async |universe: &Universe| {
        let tables = [DataType::Environments, DataType::Nodes];
        [verified_at(universe, team, tables[0]).await, verified_at(universe, team, tables[1]).await]
    };
    let before = verified(&universe).await;
    pass(secs(60)).await;
    // The elements lie, the body does not: who looks at the elements misses six.
    universe.platform.next(team, Method::Environments, Behaviour::Repeats(4));
    let counts = universe.sync(team, Environments).await.counts.unwrap();
    assert_eq!((counts.listed, counts.unchanged, counts.missing, counts.stale), (30, 30, 0, 0));
    assert_eq!(universe.platform.count(team, Method::Environment), 0, "nothing was asked for");
    let after = verified(&universe).await;
    assert!(after[0] > before[0] && after[1] > before[1]);

    // Something else was written since: the body is no longer what the mirror shows.
    universe.platform.with_world(team, |world| world.environments[9].status = 2);
    universe.sync(team, Environments).await;
    universe.platform.with_world(team, |world| world.environments[9].status = 1);
    universe.platform.next(team, Method::Environments, Behaviour::Repeats(9));
    universe.sync(team, Environments).await;
    assert_eq!(universe.platform.count(team, Method::Environment), 1, "the tenth was missed");

    // In doubt: everything is looked at, however equal the bytes.
    universe.sync(team, Environments).await;
    universe.platform.next(team, Method::Environments, Behaviour::Garbled);
    universe.sync(team, Environments).await;
    universe.platform.next(team, Method::Environments, Behaviour::Repeats(9));
    universe.sync(team, Environments).await;
    assert_eq!(universe.platform.count(team, Method::Environment), 2, "the tenth was missed");
    universe.settle().await;
    universe.shutdown().await;
}
