//! A scope that fails for a week is paused, and only that scope.

use vz_sync_actors::domain::Failure;
use vz_sync_actors::domain::FailureClass::Invalid;
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
    for _ in 0..100 {
        let failure = Failure::new(Invalid, "schema", "not a listing");
        universe.platform.next(team, Method::Environments, Behaviour::Fails(failure.clone()));
        universe.platform.next(team, Method::Outlines, Behaviour::Fails(failure));
    }
    pass(secs(35 * 3600)).await;
    assert!(universe.scope(team, Environments).resting.is_none(), "neither limit alone pauses");
    pass(secs(4 * 3600)).await;
    let scope = universe.scope(team, Environments);
    assert!(matches!(scope.resting, Some(Resting::Paused(_))), "{:?}", scope.resting);
    assert!(scope.failures >= 30, "{}", scope.failures);
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
    assert_eq!(universe.scope(team, Environments).failures, 0);
    universe.settle().await;
    universe.shutdown().await;
}
