//! The request limits are the installation's, however many replicas share
//! them, come, go and lose their line.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use time::Duration as Span;
use tokio::time::Instant;
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::domain::item::Columns;
use vz_sync_actors::embedded::limiter::Rates;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{action_item, replica_id};
use vz_sync_actors::testkit::platform::Method;

use crate::common::*;

/// Requests per second that the platform takes.
const CAP: usize = 10;

/// Far more teams than the limit can serve soon.
async fn crowd(seed: u64) -> Universe {
    let rates = Rates { platform: Some(CAP as f64), team: None, burst: NonZeroU32::MIN };
    let mut universe = Universe::new(seed).limited(rates);
    for team in 1..=300 {
        universe.team(team, 1, 1).await;
    }
    universe
}

/// The most requests within any second.
fn peak(universe: &Universe) -> usize {
    let mut times: Vec<_> = universe.platform.calls().iter().map(|call| call.at).collect();
    times.sort_unstable();
    let within = |(n, at): (usize, &Instant)| {
        times[n..].iter().take_while(|later| **later < *at + secs(1)).count()
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn replicas_that_join_take_their_share_and_no_more() {
    let mut universe = crowd(4).await;
    universe.start_replica().await;
    // Right after a heartbeat, so that the first one hears of the second as
    // late as can be.
    pass(Duration::from_millis(5_100)).await;
    universe.start_replica().await;
    for _ in 0..18 {
        pass(Duration::from_millis(500)).await;
        let owners = universe.scopes().into_iter().filter_map(|scope| scope.lease);
        let hers = owners.filter(|lease| lease.owner == replica_id(2)).count();
        assert_eq!(hers, 0, "without a share she can only put jobs off");
    }
    pass(secs(6)).await;
    universe.start_replica().await;
    pass(secs(20)).await;
    let peak = peak(&universe);
    // Each of three may have a request at either end of a second.
    assert!((CAP - 1..=CAP + 2).contains(&peak), "{peak} requests within a second");
    universe.shutdown().await;
    universe.abandon();
}

/// Two installations over one platform: what replicas would be that did not
/// count each other.
#[tokio::test(start_paused = true)]
async fn control_without_counting_the_cap_is_exceeded() {
    let (mut one, mut other) = (crowd(5).await, crowd(6).await);
    other.platform = Arc::clone(&one.platform);
    one.start_replica().await;
    other.start_replica().await;
    pass(secs(20)).await;
    assert!(peak(&one) >= 2 * CAP - 1, "only {} requests within a second", peak(&one));
    for universe in [&mut one, &mut other] {
        universe.shutdown().await;
        universe.abandon();
    }
}

/// A run that has five hundred pages to read and needs nothing else, when
/// `trouble` begins: how long after that the last page was asked for.
async fn last_request_after(
    join_wait: Duration,
    trouble: impl Fn(&Universe),
    healed: impl Fn(&Universe),
) -> Duration {
    let rates = Rates { platform: Some(CAP as f64), team: None, burst: NonZeroU32::MIN };
    let mut universe = Universe::new(7).limited(rates).tuned(move |settings| {
        settings.history_page = 10;
        settings.join_wait = join_wait;
    });
    let team: TeamId = universe.team(1, 1, 0).await;
    let at = universe.wall() - Span::hours(1);
    universe.platform.with_world(team, |world| {
        world.actions = (1..=5_000).map(|n| action_item(n, "redeploy")).collect();
        for action in &mut world.actions {
            let Columns::JobLog(log) = &mut action.columns else { panic!("not an action") };
            log.started_at = Some(at);
        }
    });
    universe.start_replica().await;
    let pages = || universe.platform.count(team, Method::Actions);
    universe.until("it reads", || pages() >= 30).await;
    let began = Instant::now();
    trouble(&universe);
    pass(secs(35)).await;
    let last = universe.platform.calls().iter().map(|call| call.at).max().unwrap();
    healed(&universe);
    universe.until("it reads on", || pages() >= 500).await;
    universe.settle().await;
    universe.shutdown().await;
    last - began
}

fn cut(universe: &Universe) {
    universe.line(0).cut();
}

fn mend(universe: &Universe) {
    universe.line(0).mend();
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_heartbeat_is_late_stops_sending() {
    let last = last_request_after(secs(10), cut, mend).await;
    assert!(last > secs(4) && last <= secs(10), "went on for {last:?} after the cut");
}

#[tokio::test(start_paused = true)]
async fn so_does_one_whose_heartbeat_gets_no_answer() {
    let stall = |universe: &Universe| universe.line(0).stall();
    let last = last_request_after(secs(10), stall, mend).await;
    assert!(last > secs(4) && last <= secs(10), "went on for {last:?}");
}

#[tokio::test(start_paused = true)]
async fn control_with_long_trust_it_goes_on() {
    let last = last_request_after(secs(300), cut, mend).await;
    assert!(last > secs(30), "stopped after {last:?}");
}
