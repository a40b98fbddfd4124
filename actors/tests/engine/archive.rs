//! The archive: what it learns of the sites that left, and that none of them
//! holds up the others.

use time::Duration as Span;
use vz_sync_actors::domain::item::Columns;
use vz_sync_actors::domain::{DataType, ExternalId, Failure, JobState, TeamId};
use vz_sync_actors::ports::reads::Reads as _;
use vz_sync_actors::ports::store::Store as _;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::Environment;
use vz_sync_actors::testkit::platform::{Behaviour, Method, refused_key, unavailable};

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn the_archive_learns_who_deleted_a_site_and_when() {
    let (mut universe, team) = one_team(10, 1).await;
    let gone = Environment::new(10, 1);
    let entry = action(&universe, 1, "DeleteEnv", &gone, Span::seconds(1));
    let deleted_at = universe.wall() - Span::seconds(1);
    universe.platform.with_world(team, |world| {
        world.actions.push(entry);
        world.environments.pop();
    });
    universe.sync(team, Environments).await;
    let ended = universe.sync(team, ArchivedSites).await;
    assert_eq!(ended.counts.unwrap().updated, 1, "{:?}", ended.counts);
    let site = universe.store.item(team, DataType::ArchivedSites, &gone.external_id()).await;
    let columns: serde_json::Value = serde_json::from_str(&site.unwrap().unwrap().columns).unwrap();
    assert_eq!(columns["deleted_by"], "mallory", "{columns}");
    let text = columns["deleted_at"].as_str().unwrap();
    let format = &time::format_description::well_known::Rfc3339;
    assert_eq!(time::OffsetDateTime::parse(text, format).unwrap(), deleted_at);

    // Told of once: what is known is not told again.
    let ended = universe.sync(team, ArchivedSites).await;
    assert_eq!((ended.counts.unwrap().updated, ended.counts.unwrap().unchanged), (0, 1));

    // A site that turns out to live makes the environments due, whose run
    // takes it out of the archive.
    universe.platform.with_world(team, |world| world.environments.push(gone.clone()));
    universe.sync(team, ArchivedSites).await;
    universe.settle().await;
    let returned = row(&universe, team, DataType::Environments, &gone.external_id()).await;
    assert!(!returned.unwrap().stale);
    universe.shutdown().await;
}

/// So many archived sites of a team whose history names no deletion.
async fn archive_of(sites: u32, probes: u32) -> (Universe, TeamId) {
    let mut universe = Universe::new(1).tuned(move |settings| settings.archive_probes = probes);
    let team = universe.team(1, sites + 20, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    for _ in 0..sites {
        universe.platform.with_world(team, |world| drop(world.environments.pop()));
        universe.sync(team, Environments).await;
    }
    (universe, team)
}

/// When each archived site was last asked for.
async fn asked_at(universe: &Universe, team: TeamId) -> Vec<(ExternalId, bool)> {
    let sites = universe.store.archive_work(team, 100).await.unwrap();
    let mut asked: Vec<_> =
        sites.into_iter().map(|site| (site.id, site.probed_at.is_some())).collect();
    asked.sort();
    asked
}

/// A site that cannot be asked for holds nobody up, in this run or the next.
#[tokio::test(start_paused = true)]
async fn one_site_that_cannot_be_asked_for_holds_up_no_other() {
    let (mut universe, team) = archive_of(4, 50).await;
    universe.platform.next(team, Method::Environment, Behaviour::Fails(unavailable()));
    let ended = universe.sync(team, ArchivedSites).await;
    assert_eq!(ended.state, JobState::Succeeded);
    assert!(asked_at(&universe, team).await.iter().all(|(_, asked)| *asked), "all of them");
    assert_eq!(universe.scope(team, ArchivedSites).failures, 0);
    universe.shutdown().await;

    // One that gets no answer at all ends the run, but not the next one.
    let (mut universe, team) = archive_of(4, 50).await;
    let silent = Failure { connection_level: true, ..unavailable() };
    universe.platform.next(team, Method::Environment, Behaviour::Fails(silent));
    let verified = verified_at(&universe, team, DataType::ArchivedSites).await;
    universe.sync(team, ArchivedSites).await;
    assert_eq!(universe.scope(team, ArchivedSites).failures, 1);
    assert_eq!(verified_at(&universe, team, DataType::ArchivedSites).await, verified);
    let asked = asked_at(&universe, team).await.iter().filter(|(_, asked)| *asked).count();
    assert_eq!(asked, 1, "the one that failed goes to the end of the line");
    universe
        .until("the others are asked for", || universe.scope(team, ArchivedSites).failures == 0)
        .await;
    assert!(verified_at(&universe, team, DataType::ArchivedSites).await > verified);
    universe.shutdown().await;

    // The platform's patience and a refused key are everybody's.
    let (mut universe, team) = archive_of(2, 50).await;
    universe.platform.next(team, Method::Environment, Behaviour::Fails(refused_key()));
    let ended = universe.sync(team, ArchivedSites).await;
    assert_eq!(ended.error_class.as_deref(), Some("auth"));
    universe.shutdown().await;
}

/// Sites that no history explains do not keep the others from being asked for.
#[tokio::test(start_paused = true)]
async fn every_site_of_the_archive_has_its_turn() {
    let (mut universe, team) = archive_of(6, 2).await;
    for _ in 0..3 {
        universe.sync(team, ArchivedSites).await;
    }
    let asked = asked_at(&universe, team).await;
    assert_eq!(asked.len(), 6);
    assert!(asked.iter().all(|(_, asked)| *asked), "{asked:?}");
    universe.shutdown().await;
}

/// Two sites of one name are told apart by their ids, or by their times.
#[tokio::test(start_paused = true)]
async fn a_deletion_is_told_of_the_site_that_it_deleted() {
    let (mut universe, team) = one_team(10, 1).await;
    let first = Environment::new(10, 1);
    let second = Environment { name: first.name.clone(), ..Environment::new(11, 1) };
    universe.platform.with_world(team, |world| drop(world.environments.pop()));
    universe.sync(team, Environments).await;
    let mut by_time = action(&universe, 1, "DeleteEnv", &first, Span::seconds(1));
    universe.platform.with_world(team, |world| world.environments.push(second.clone()));
    universe.sync(team, Environments).await;
    pass(secs(60)).await;
    universe.platform.with_world(team, |world| drop(world.environments.pop()));
    universe.sync(team, Environments).await;
    let mut by_id = action(&universe, 2, "DeleteEnv", &second, Span::seconds(1));
    if let (Columns::JobLog(named), Columns::JobLog(other)) =
        (&mut by_id.columns, &mut by_time.columns)
    {
        named.environment = Some(second.external_id());
        named.login = Some("eve".to_owned());
        other.login = Some("bob".to_owned());
    }
    universe.platform.with_world(team, |world| world.actions = vec![by_time, by_id]);
    universe.sync(team, ArchivedSites).await;
    for (site, who) in [(first, "bob"), (second, "eve")] {
        let row = universe.store.item(team, DataType::ArchivedSites, &site.external_id()).await;
        let columns: serde_json::Value =
            serde_json::from_str(&row.unwrap().unwrap().columns).unwrap();
        assert_eq!(columns["deleted_by"], who, "{columns}");
    }
    universe.shutdown().await;
}
