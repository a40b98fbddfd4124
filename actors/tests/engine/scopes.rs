//! The cheaper ways to be up to date: deltas, the action history, the archive.

use time::Duration as Span;
use vz_sync_actors::domain::item::{Columns, Item};
use vz_sync_actors::domain::{Class, DataType, Failure, FailureClass, Mode};
use vz_sync_actors::domain::{ScopeKey, TeamId};
use vz_sync_actors::ports::reads::{JobRow, Reads as _};
use vz_sync_actors::ports::store::Requested;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{Environment, action_item, sync_request};
use vz_sync_actors::testkit::platform::{Behaviour, Method};

use crate::common::*;

/// An action of the history on an environment, begun so long ago.
fn action(universe: &Universe, n: u32, name: &str, on: &Environment, ago: Span) -> Item {
    let mut item = action_item(n, name);
    let Columns::JobLog(log) = &mut item.columns else { panic!("not an action") };
    log.started_at = Some(universe.wall() - ago);
    log.finished_at = log.started_at;
    log.env_name = Some(on.name.clone());
    log.login = Some("mallory".to_owned());
    item
}

/// Asks for a run that may choose its mode, and waits for its end.
async fn refresh(universe: &Universe, team: TeamId, key: ScopeKey) -> JobRow {
    let request = sync_request(key, Class::Manual);
    let Requested::Accepted(jobs) = universe.request(&request).await else { panic!("refused") };
    universe.ended(team, jobs[0].job_id).await
}

fn refused() -> Behaviour {
    let failure = Failure::new(FailureClass::Capability, "result_8202", "the token may not");
    Behaviour::Fails(failure)
}

#[tokio::test(start_paused = true)]
async fn a_delta_asks_for_what_the_history_names() {
    let (mut universe, team) = one_team(30, 1).await;
    let key = ScopeKey::new(team, Environments);
    pass(secs(120)).await;
    let touched = Environment::new(7, 1);
    let entry = action(&universe, 1, "restartnode", &touched, Span::seconds(10));
    universe.platform.with_world(team, |world| {
        world.actions.push(entry);
        world.environments[3].status = 2;
    });
    let before = verified_at(&universe, team, DataType::Nodes).await;
    let ended = refresh(&universe, team, key).await;
    assert_eq!(ended.mode, Some(Mode::Delta));
    let counts = ended.counts.unwrap();
    assert_eq!(counts.updated, 2, "the one that looks different, with its node: {counts:?}");
    let asked = universe.platform.count(team, Method::Environment);
    assert_eq!(asked, 2, "the one that looks different and the one that the history names");
    assert_eq!(universe.platform.count(team, Method::Environments), 1, "the first load only");
    let after = verified_at(&universe, team, DataType::Nodes).await;
    assert!(after > before, "a gapless history vouches for nodes");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_delta_confirms_a_deletion() {
    let (mut universe, team) = one_team(30, 1).await;
    universe.platform.with_world(team, |world| drop(world.environments.pop()));
    let ended = refresh(&universe, team, ScopeKey::new(team, Environments)).await;
    assert_eq!(ended.mode, Some(Mode::Delta));
    assert_eq!(ended.counts.unwrap().stale, 2, "{:?}", ended.counts);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_delta_that_is_not_worth_its_requests_reads_the_full_listing() {
    let (mut universe, team) = one_team(40, 1).await;
    universe.platform.with_world(team, |world| {
        for environment in &mut world.environments[..25] {
            environment.status = 2;
        }
    });
    let ended = refresh(&universe, team, ScopeKey::new(team, Environments)).await;
    assert_eq!(ended.mode, Some(Mode::Full));
    assert_eq!(ended.counts.unwrap().updated, 50);
    assert_eq!(universe.platform.count(team, Method::Environment), 0);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_tracking_a_delta_falls_back_on_the_outlines() {
    let (mut universe, team) = one_team(30, 1).await;
    let key = ScopeKey::new(team, Environments);
    let nodes = verified_at(&universe, team, DataType::Nodes).await;
    let environments = verified_at(&universe, team, DataType::Environments).await;
    pass(secs(60)).await;
    universe.platform.next(team, Method::Actions, refused());
    universe.platform.with_world(team, |world| world.environments[3].status = 2);
    let ended = refresh(&universe, team, key).await;
    assert_eq!((ended.mode, ended.counts.unwrap().updated), (Some(Mode::Delta), 2));
    assert!(verified_at(&universe, team, DataType::Environments).await > environments);
    let now = verified_at(&universe, team, DataType::Nodes).await;
    assert_eq!(now, nodes, "outlines show no nodes, so they vouch for none");
    assert!(universe.scope(team, Environments).resting.is_none(), "nobody is paused");
    // The refusal is remembered: the next delta does not ask the history.
    let asked = universe.platform.count(team, Method::Actions);
    refresh(&universe, team, key).await;
    assert_eq!(universe.platform.count(team, Method::Actions), asked);
    universe.shutdown().await;
}

/// What a delta asks for is refused: the full listing is read instead, and
/// nobody is blamed.
#[tokio::test(start_paused = true)]
async fn a_delta_that_is_refused_its_methods_reads_the_full_listing() {
    for method in [Method::Outlines, Method::Environment] {
        let (mut universe, team) = one_team(30, 1).await;
        let key = ScopeKey::new(team, Environments);
        universe.platform.with_world(team, |world| world.environments[3].status = 2);
        universe.platform.next(team, method, refused());
        let ended = refresh(&universe, team, key).await;
        assert_eq!((ended.attempt, ended.counts.unwrap().updated), (1, 2));
        assert_eq!(universe.platform.count(team, Method::Environments), 2, "{method:?}");
        universe.shutdown().await;
    }
}

/// The window of the history is the platform's: what it says has just
/// happened is found, however wrong its clock is.
#[tokio::test(start_paused = true)]
async fn a_delta_reads_the_history_by_the_platforms_clock() {
    for (ahead, pages) in [(-3600, 2), (3600, 2), (-20, 1)] {
        let (mut universe, team) = one_team(30, 1).await;
        let key = ScopeKey::new(team, Environments);
        pass(secs(600)).await;
        universe.settle().await;
        let touched = Environment::new(7, 1);
        let ago = Span::seconds(10 - ahead);
        let entry = action(&universe, 1, "restartnode", &touched, ago);
        let clock = universe.wall() + Span::seconds(ahead);
        universe.platform.with_world(team, |world| {
            world.actions.push(entry);
            world.clock = Some(clock);
        });
        let before = universe.platform.count(team, Method::Actions);
        let ended = refresh(&universe, team, key).await;
        assert_eq!(ended.mode, Some(Mode::Delta));
        assert_eq!(universe.platform.count(team, Method::Environment), 1, "{ahead} s ahead");
        let asked = universe.platform.count(team, Method::Actions) - before;
        assert_eq!(asked, pages, "{ahead} s ahead");
        universe.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_action_history_is_a_window_that_only_grows() {
    let mut universe = Universe::new(1).tuned(|settings| settings.history_page = 10);
    let team = universe.team(1, 1, 1).await;
    let on = Environment::new(1, 1);
    let old: Vec<Item> = (1..=25)
        .map(|n| action(&universe, n, "redeploy", &on, Span::hours(i64::from(30 - n))))
        .collect();
    let ancient = action(&universe, 99, "redeploy", &on, Span::days(91));
    universe.platform.with_world(team, |world| {
        world.actions = [vec![ancient], old].concat();
    });
    universe.start_replica().await;
    universe.settle().await;
    assert_eq!(universe.platform.count(team, Method::Actions), 3, "three pages of ten");
    let key = ScopeKey::new(team, JobLogs);
    pass(secs(300)).await;
    let entry = action(&universe, 26, "stop", &on, Span::seconds(100));
    universe.platform.with_world(team, |world| world.actions.push(entry));
    let ended = refresh(&universe, team, key).await;
    let counts = ended.counts.unwrap();
    assert_eq!((ended.mode, counts.listed, counts.inserted), (Some(Mode::Delta), 1, 1));
    // A full finds nothing new, and what is gone from the platform stays.
    universe.platform.with_world(team, |world| drop(world.actions.drain(..5)));
    let counts = universe.sync(team, JobLogs).await.counts.unwrap();
    assert_eq!((counts.changed(), counts.missing, counts.stale), (0, 0, 0), "{counts:?}");
    universe.shutdown().await;
}

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

    // A site that turns out to live makes the environments due, whose run
    // takes it out of the archive.
    universe.platform.with_world(team, |world| world.environments.push(gone.clone()));
    universe.sync(team, ArchivedSites).await;
    universe.settle().await;
    let returned = row(&universe, team, DataType::Environments, &gone.external_id()).await;
    assert!(!returned.unwrap().stale);
    universe.shutdown().await;
}
