//! From a trigger to a row and an event.

use std::time::Duration;

use vz_sync_actors::domain::event::Phase;
use vz_sync_actors::domain::{Class, DataType, EventBody, EventNo, JobState, Mode};
use vz_sync_actors::kit::ActorId;
use vz_sync_actors::ports::event_bus::EventBus as _;
use vz_sync_actors::ports::reads::{ChangeQuery, Reads as _};
use vz_sync_actors::ports::store::{Requested, Resting};
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{Environment, environments_of, sync_request};
use vz_sync_actors::testkit::platform::Method;

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn a_process_whose_pipeline_is_off_leaves_everything_to_others() {
    let mut universe = Universe::new(1).tuned(|settings| settings.pipeline = false);
    let team = universe.team(1, 3, 2).await;
    let off = universe.start_replica().await;
    pass(secs(3 * 3600)).await;
    assert_eq!(universe.platform.count(team, Method::Environments), 0);
    assert!(universe.scopes().iter().all(|scope| scope.queued.is_none()), "nothing was claimed");
    let ask = sync_request(environments_of(1), Class::Manual);
    let refused = universe.replica(off).trigger(&ask).await.unwrap();
    assert_eq!(refused, Requested::Resting(Resting::OutOfRollout));

    let mut universe = universe.tuned(|_| {});
    let on = universe.start_replica().await;
    universe.settle().await;
    let taken = universe.replica(on).trigger(&ask).await.unwrap();
    let Requested::Accepted(jobs) = taken else { panic!("control: {taken:?}") };
    assert_eq!(universe.ended(team, jobs[0].job_id).await.state, JobState::Succeeded);
    let intake = |replica| {
        let id = ActorId::root().child("job_intake");
        universe.replica(replica).roster().get(&id).unwrap().details["routed_total"].clone()
    };
    assert!(intake(off).is_null(), "it had no message to handle");
    assert!(intake(on).is_number(), "control");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_trigger_becomes_rows_and_a_numbered_event() {
    let mut universe = Universe::new(1);
    let team = universe.team(1, 3, 2).await;
    universe.start_replica().await;
    universe.settle().await;
    let mut subscription = universe.handle().subscribe(team).await.unwrap();
    assert_eq!(subscription.from, EventNo(3), "one for the first run of each scope");
    universe.platform.with_world(team, |world| {
        world.environments = (1..=6).map(|n| Environment::new(n, 2)).collect();
    });
    let job = universe.trigger(team, Environments, Class::Manual).await;
    let ended = universe.ended(team, job).await;
    assert_eq!(ended.state, JobState::Succeeded);
    assert_eq!((ended.attempt, ended.mode), (1, Some(Mode::Full)));
    let told = loop {
        let told = subscription.live.recv().await.unwrap();
        match &told.event.body {
            EventBody::Completed(completed) if completed.job_id == job => break told.event.clone(),
            _ => {}
        }
    };
    assert_eq!(told, events_of(&universe, team, job)[0], "live and stored are the same event");
    let EventBody::Completed(completed) = &told.body else { unreachable!() };
    assert_eq!(told.no, Some(EventNo(4)));
    assert_eq!(completed.counts.inserted, 9, "three environments with two nodes each");
    assert_eq!((completed.changed.len(), completed.truncated), (9, false));
    assert_eq!(completed.verified_at, verified_at(&universe, team, DataType::Environments).await);
    let id = Environment::new(5, 2).external_id();
    let row = row(&universe, team, DataType::Environments, &id).await.unwrap();
    assert!(!row.stale && !row.needs_validation);
    let numbers: Vec<_> = universe.events(team).iter().filter_map(|event| event.no).collect();
    assert_eq!(numbers, [1, 2, 3, 4].map(EventNo), "in order, without gaps");
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_tells_of_itself_once_a_second_and_then_the_newest() {
    let (mut universe, team) = one_team(10, 1).await;
    universe.platform.with_world(team, |world| {
        world.latency = Duration::from_millis(600);
        world.environments.truncate(8);
    });
    let mut source = universe.event_bus.subscribe().await.unwrap();
    let job = universe.trigger(team, Environments, Class::Manual).await;
    let listen = async {
        let mut told = Vec::new();
        let mut began = None;
        while let Ok(Ok(event)) = tokio::time::timeout(secs(10), source.next()).await {
            let now = tokio::time::Instant::now();
            let after = (now - *began.get_or_insert(now)).as_millis();
            match event.body {
                EventBody::Started(started) if started.job_id == job => {
                    told.push((after, Phase::Lock, 0));
                }
                EventBody::Progress(progress) if progress.job_id == job => {
                    told.push((after, progress.phase, progress.done));
                }
                _ => {}
            }
        }
        told
    };
    let (told, ended) = tokio::join!(listen, universe.ended(team, job));
    assert_eq!(ended.counts.unwrap().stale, 4, "two environments, each with its node");
    // The listing with eight environments and their nodes comes after 0.6 s, the account after 1.2 s, and the probes of
    // the two that are gone after 1.8 and 2.4 s.
    let expected = [(0, Phase::Lock, 0), (1000, Phase::Fetch, 16), (2000, Phase::Confirm, 1)];
    assert_eq!(told, expected);
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_finds_nothing_new_writes_no_row() {
    let (mut universe, team) = one_team(3, 2).await;
    let id = Environment::new(1, 2).external_id();
    let before = row(&universe, team, DataType::Environments, &id).await.unwrap();
    let verified = verified_at(&universe, team, DataType::Nodes).await;
    pass(secs(60)).await;
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.listed, counts.unchanged, counts.changed()), (9, 9, 0), "{counts:?}");
    assert!(verified_at(&universe, team, DataType::Nodes).await > verified);
    let after = row(&universe, team, DataType::Environments, &id).await.unwrap();
    assert!(after.synced_at > before.synced_at, "the table's verification vouches for it");
    let EventBody::Completed(completed) = &events_of(&universe, team, ended.id)[0].body else {
        panic!("no completion");
    };
    assert!(completed.changed.is_empty());
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_change_writes_exactly_that_row() {
    let (mut universe, team) = one_team(3, 2).await;
    universe.platform.with_world(team, |world| world.environments[1].status = 2);
    let ended = universe.sync(team, Environments).await;
    let counts = ended.counts.unwrap();
    let changed = Environment::new(2, 2).external_id();
    let EventBody::Completed(completed) = &events_of(&universe, team, ended.id)[0].body else {
        panic!("no completion");
    };
    // The nodes of the fixtures show their environment's status.
    assert_eq!((counts.inserted, counts.updated), (0, 3), "{counts:?}");
    let environments: Vec<_> =
        completed.changed.iter().filter(|row| row.data_type == DataType::Environments).collect();
    assert_eq!(environments.len(), 1);
    assert_eq!(environments[0].id, changed);
    let query = ChangeQuery { team, after: 0, data_type: None, id: Some(changed), limit: 10 };
    let changes = universe.store.changes(&query).await.unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].op.as_str(), changes[0].job_id), ("changed", ended.id));
    assert!(changes[0].patch.is_some() && changes[0].undo.is_some());
    universe.shutdown().await;
}
