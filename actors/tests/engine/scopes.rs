//! The cheaper ways to be up to date, deltas and the action history, and what
//! runs do without.

use std::num::NonZeroU32;

use time::Duration as Span;
use vz_sync_actors::domain::item::Item;
use vz_sync_actors::domain::{
    Capability, Class, DataType, EventBody, ExternalId, JobState, Mode, ScopeKey,
};
use vz_sync_actors::embedded::limiter::Rates;

use vz_sync_actors::ports::store::{Requested, Resting, Store as _};
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{Environment, sync_request};
use vz_sync_actors::testkit::platform::{Behaviour, Method, refused_method};

use crate::common::*;

fn refused() -> Behaviour {
    Behaviour::Fails(refused_method())
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
async fn a_delta_that_cannot_send_its_requests_in_time_reads_the_full_listing() {
    // Thirty-seven requests are half of what a run can send; 5 % would be a hundred.
    let rates = Rates { platform: None, team: Some(0.5), burst: NonZeroU32::MIN };
    let mut universe = Universe::new(1).limited(rates);
    let team = universe.team(1, 2000, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    for (changed, mode) in [(30, Mode::Delta), (90, Mode::Full)] {
        let asked = universe.platform.count(team, Method::Environment);
        universe.platform.with_world(team, |world| {
            for environment in &mut world.environments[..changed] {
                environment.status = if environment.status == 1 { 2 } else { 1 };
            }
        });
        let ended = refresh(&universe, team, ScopeKey::new(team, Environments)).await;
        assert_eq!((ended.mode, ended.attempt), (Some(mode), 1), "{changed} changed");
        let asked = universe.platform.count(team, Method::Environment) - asked;
        assert_eq!(asked, if mode == Mode::Delta { changed } else { 0 });
    }
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_first_request_must_wait_steps_aside() {
    // One request in ten seconds: whoever comes second waits longer than a delivery should.
    let rates = Rates { platform: None, team: Some(0.1), burst: NonZeroU32::MIN };
    let mut universe = Universe::new(1).limited(rates);
    let team = universe.team(1, 30, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    // Each kind of run begins with a request of its own: a delta without the
    // history with the outlines, the archive with a probe.
    universe.platform.with_world(team, |world| drop(world.environments.pop()));
    universe.sync(team, Environments).await;
    universe.platform.next(team, Method::Actions, refused());
    refresh(&universe, team, ScopeKey::new(team, Environments)).await;
    for scope in [Environments, ArchivedSites] {
        // Another scope has just spent the team's token.
        pass(secs(20)).await;
        universe.sync(team, JobLogs).await;
        let request = sync_request(ScopeKey::new(team, scope), Class::Manual);
        let Requested::Accepted(jobs) = universe.request(&request).await else { panic!("refused") };
        let throttled = || universe.scope(team, scope).status == "throttled";
        let began = tokio::time::Instant::now();
        universe.until("it stepped aside", throttled).await;
        assert!(began.elapsed() < secs(1), "{scope}: {:?}", began.elapsed());
        assert_eq!(universe.job_bus.unsettled(), 0, "{scope}: its delivery was acked");
        let ended = universe.ended(team, jobs[0].job_id).await;
        assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1), "{scope}");
    }
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

/// Neither a full nor a delta vouches for nodes of which nothing was said.
#[tokio::test(start_paused = true)]
async fn nodes_that_nobody_spoke_for_are_not_verified() {
    for behaviour in [Behaviour::WithoutNodes, Behaviour::Garbled] {
        let (mut universe, team) = one_team(3, 1).await;
        let key = ScopeKey::new(team, Environments);
        let nodes = verified_at(&universe, team, DataType::Nodes).await;
        let environments = verified_at(&universe, team, DataType::Environments).await;
        pass(secs(60)).await;
        universe.platform.next(team, Method::Environments, behaviour.clone());
        universe.sync(team, Environments).await;
        assert!(verified_at(&universe, team, DataType::Environments).await > environments);
        let now = verified_at(&universe, team, DataType::Nodes).await;
        assert_eq!(now, nodes, "a full: {behaviour:?}");

        universe.platform.next(team, Method::Environment, behaviour.clone());
        universe.platform.with_world(team, |world| world.environments[0].status = 2);
        let ended = refresh(&universe, team, key).await;
        assert_eq!(ended.mode, Some(Mode::Delta));
        let now = verified_at(&universe, team, DataType::Nodes).await;
        assert_eq!(now, nodes, "a delta: {behaviour:?}");

        // The control: once they are spoken for, they are verified.
        universe.sync(team, Environments).await;
        assert!(verified_at(&universe, team, DataType::Nodes).await > nodes);
        universe.shutdown().await;
    }
}

/// Without outlines a delta reads the whole listing, without the smaller
/// listing a full reads the wider one; without any, the key is refused.
#[tokio::test(start_paused = true)]
async fn what_the_key_may_not_do_is_done_without() {
    let (mut universe, team) = one_team(30, 1).await;
    let key = ScopeKey::new(team, Environments);
    let missing = |universe: &Universe| {
        let refused = universe.scope(team, Environments).refused;
        refused.iter().map(|(capability, _)| capability).collect::<Vec<_>>()
    };
    let refuse = |universe: &Universe, methods: &[Method]| {
        universe.platform.with_world(team, |world| {
            world.refused = methods.iter().copied().collect();
        });
    };
    assert_eq!(missing(&universe), []);
    refuse(&universe, &[Method::Outlines]);
    universe.platform.with_world(team, |world| world.environments[3].status = 2);
    let ended = refresh(&universe, team, key).await;
    assert_eq!((ended.mode, ended.counts.unwrap().updated), (Some(Mode::Full), 2));
    assert_eq!(missing(&universe), [Capability::GetEnvs]);

    refuse(&universe, &[Method::Environment]);
    universe.platform.with_world(team, |world| world.environments[4].status = 2);
    let ended = refresh(&universe, team, key).await;
    assert_eq!((ended.mode, ended.counts.unwrap().updated), (Some(Mode::Full), 2));
    assert_eq!(missing(&universe), [Capability::GetEnvInfo], "a person asks: all is tried again");

    refuse(&universe, &[Method::Environments]);
    universe.platform.with_world(team, |world| world.environments[5].status = 2);
    let counts = universe.sync(team, Environments).await.counts.unwrap();
    assert_eq!((counts.listed, counts.updated, counts.stale), (60, 2, 0), "{counts:?}");
    assert!(missing(&universe).contains(&Capability::GetBasicEnvsInfo));
    assert!(universe.scope(team, Environments).resting.is_none(), "nobody is paused");
    // By itself it does not ask in vain each time.
    let asked = universe.platform.count(team, Method::Environments);
    pass(secs(1800)).await;
    assert_eq!(universe.platform.count(team, Method::Environments), asked);

    let log = Log::listen();
    refuse(&universe, &[Method::Environments, Method::Whole, Method::Outlines]);
    let ended = universe.sync(team, Environments).await;
    assert_eq!(ended.error_class.as_deref(), Some("auth"));
    let resting = universe.scope(team, Environments).resting;
    assert!(matches!(resting, Some(Resting::Auth(_))), "{resting:?}");
    let told = log.of("auth_violation");
    assert_eq!(told, [("1".to_owned(), "listing_refused".to_owned())]);
    universe.shutdown().await;
}

/// A history that the key may not read is no failure: the run succeeds,
/// verifies nothing, says what is missing, and comes back to it in time.
#[tokio::test(start_paused = true)]
async fn a_history_that_may_not_be_read_fails_nobody() {
    let mut universe = Universe::new(1);
    let team = universe.team(1, 3, 1).await;
    universe.platform.with_world(team, |world| world.refused.insert(Method::Actions));
    universe.start_replica().await;
    universe.settle().await;
    let scope = universe.scope(team, JobLogs);
    assert!(scope.refused.at(Capability::SearchActions).is_some());
    assert_eq!((scope.failures, scope.last_full_at, scope.resting), (0, None, None));
    assert_eq!(verified_at(&universe, team, DataType::JobLogs).await, None);
    let ended = universe.sync(team, JobLogs).await;
    assert_eq!(ended.state, JobState::Succeeded);
    let EventBody::Completed(told) = &events_of(&universe, team, ended.id)[0].body else {
        panic!("no completion");
    };
    assert_eq!(told.partial.as_deref(), Some("capability_missing"));
    assert_eq!(told.verified_at, None);
    assert!(universe.scope(team, JobLogs).requested_at.is_none(), "the request is answered");

    // The delta of the environments finds out by itself.
    pass(secs(15 * 60)).await;
    let asked = universe.platform.count(team, Method::Actions);
    pass(secs(40 * 60)).await;
    assert_eq!(universe.platform.count(team, Method::Actions), asked, "not with every delta");
    let on = Environment::new(1, 1);
    let entry = action(&universe, 1, "stop", &on, Span::seconds(100));
    universe.platform.with_world(team, |world| {
        world.refused.clear();
        world.actions.push(entry);
    });
    let read = || universe.scope(team, JobLogs).refused.is_empty();
    universe.until("the history is read after all", read).await;
    assert!(verified_at(&universe, team, DataType::JobLogs).await.is_some());
    universe.shutdown().await;
}

/// The window of the history is cut by the clock that stamps the actions.
#[tokio::test(start_paused = true)]
async fn a_platform_whose_clock_is_wrong_hides_no_action() {
    for minutes in [-20, 0, 20] {
        let skew = Span::minutes(minutes);
        let mut universe = Universe::new(1);
        let team = universe.team(1, 30, 1).await;
        universe.platform.with_world(team, |world| world.ahead = Some(skew));
        universe.start_replica().await;
        universe.settle().await;
        pass(secs(60)).await;
        let touched = Environment::new(7, 1);
        let entry = action(&universe, 1, "restartnode", &touched, Span::seconds(10) - skew);
        universe.platform.with_world(team, |world| world.actions.push(entry));
        let before = verified_at(&universe, team, DataType::Nodes).await;
        refresh(&universe, team, ScopeKey::new(team, Environments)).await;
        let asked = universe.platform.count(team, Method::Environment);
        assert_eq!(asked, 1, "{minutes} min: the history names one");
        assert!(verified_at(&universe, team, DataType::Nodes).await > before, "{minutes} min");
        universe.shutdown().await;
    }
}

/// A clock that was set back has stamped actions into what was read before; one
/// that nobody knows may have.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_or_tells_no_time_leaves_a_gap() {
    let minutes = |minutes| Some(Span::minutes(minutes));
    for (then, now, gapless) in [
        (minutes(0), minutes(0), true),
        (minutes(0), minutes(-1), true),
        (minutes(0), minutes(-3), false),
        (minutes(0), minutes(20), true),
        (minutes(0), None, false),
        (None, minutes(0), false),
    ] {
        let mut universe = Universe::new(1);
        let team = universe.team(1, 30, 1).await;
        universe.platform.with_world(team, |world| world.ahead = then);
        universe.start_replica().await;
        universe.settle().await;
        pass(secs(60)).await;
        universe.platform.with_world(team, |world| world.ahead = now);
        let before = verified_at(&universe, team, DataType::Nodes).await;
        let ended = refresh(&universe, team, ScopeKey::new(team, Environments)).await;
        assert_eq!(ended.mode, Some(Mode::Delta));
        let after = verified_at(&universe, team, DataType::Nodes).await;
        assert_eq!(after > before, gapless, "from {then:?} to {now:?}");
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

/// A long history goes to staging on the way, and comes out whole and once.
#[tokio::test(start_paused = true)]
async fn a_long_history_is_staged_page_by_page() {
    let mut universe = Universe::new(1).tuned(|settings| {
        settings.history_page = 10;
        settings.stage_from = 20;
        settings.stage_batch = 10;
    });
    let team = universe.team(1, 1, 1).await;
    let on = Environment::new(1, 1);
    let all: Vec<Item> =
        (1..=95).map(|n| action(&universe, n, "redeploy", &on, Span::hours(1))).collect();
    universe.platform.with_world(team, |world| world.actions = all);
    universe.start_replica().await;
    universe.settle().await;
    let ids: Vec<ExternalId> = (1..=95).map(|n| ExternalId::from(format!("{n}"))).collect();
    let known = universe.store.known(team, DataType::JobLogs, &ids).await.unwrap();
    assert_eq!(known.len(), 95);
    let counts = universe.sync(team, JobLogs).await.counts.unwrap();
    assert_eq!((counts.listed, counts.unchanged, counts.changed()), (95, 95, 0), "{counts:?}");
    universe.shutdown().await;
}
