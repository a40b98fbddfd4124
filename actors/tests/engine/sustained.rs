//! A scope that fails for a week is warned of and then paused, and only that
//! scope, whatever way it fails.

use vz_sync_actors::domain::FailureClass::Invalid;
use vz_sync_actors::domain::{Failure, PartialReason};
use vz_sync_actors::ports::store::Resting;
use vz_sync_actors::ports::teams::Teams as _;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::platform::{Behaviour, Method};

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn a_week_of_failures_pauses_the_scope_until_somebody_resumes_it() {
    // The rule at a smaller scale: thirty failures within a day or more.
    let mut universe = Universe::new(4).tuned(|settings| {
        settings.retry.pause_after = secs(36 * 3600);
        settings.dispatch_poll = secs(60);
        settings.outbox_poll = secs(60);
    });
    let team = universe.team(1, 2, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    let log = Log::listen();
    for _ in 0..100 {
        let failure = Failure::new(Invalid, "schema", "not a listing");
        universe.platform.next(team, Method::Environments, Behaviour::Fails(failure.clone()));
        universe.platform.next(team, Method::Outlines, Behaviour::Fails(failure));
    }
    pass(secs(35 * 3600)).await;
    let scope = universe.scope(team, Environments);
    assert!(scope.resting.is_none(), "neither limit alone pauses");
    assert!(scope.pause_warned_at.is_some(), "but two thirds of both are told");
    let told = || (log.count("vz_sync_scope_pause_near"), log.count("vz_sync_scope_paused"));
    assert_eq!(told(), (1, 0));
    pass(secs(4 * 3600)).await;
    let scope = universe.scope(team, Environments);
    assert!(matches!(scope.resting, Some(Resting::Paused(_))), "{:?}", scope.resting);
    assert!(scope.failures >= 30, "{}", scope.failures);
    assert_eq!(told(), (1, 1), "each transition is told once");
    assert!(universe.scope(team, JobLogs).resting.is_none(), "the others go on");
    universe.platform.with_world(team, |world| world.script.clear());
    universe.store.set_paused(team, None).await.unwrap();
    let works = || {
        universe
            .scope(team, Environments)
            .last_success_at
            .is_some_and(|at| at > universe.wall() - secs(60))
    };
    universe.until("it works again", works).await;
    let scope = universe.scope(team, Environments);
    assert_eq!((scope.failures, scope.pause_warned_at), (0, None));
    universe.settle().await;
    universe.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_is_never_whole_pauses_its_scope_too() {
    let mut universe = Universe::new(4).tuned(|settings| {
        settings.retry.pause_failures = 6;
        settings.retry.pause_after = secs(2 * 3600);
    });
    let team = universe.team(1, 4, 1).await;
    universe.start_replica().await;
    universe.settle().await;
    let log = Log::listen();
    for _ in 0..200 {
        let cut = Behaviour::CutAfter(2, PartialReason::Truncated);
        universe.platform.next(team, Method::Environments, cut.clone());
        universe.platform.next(team, Method::Outlines, cut);
    }
    // The first of these runs comes with the next delta, within 10.5 minutes.
    pass(secs(2 * 3600)).await;
    let scope = universe.scope(team, Environments);
    assert!(scope.resting.is_none() && scope.pause_warned_at.is_some(), "{scope:?}");
    let paused = || universe.scope(team, Environments).resting.is_some();
    universe.until("it is paused", paused).await;
    assert_eq!(log.count("vz_sync_scope_pause_near"), 1);
    assert_eq!(log.count("vz_sync_scope_paused"), 1);
    assert!(universe.scope(team, JobLogs).resting.is_none(), "the others go on");
    universe.shutdown().await;
}
