//! A day of two hundred scopes on the paused clock.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use vz_sync_actors::domain::{EventBody, Mode, Scope, ScopeKey, TeamId};
use vz_sync_actors::embedded::limiter::Rates;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::platform::Call;

use crate::common::*;

const TEAMS: i64 = 67;
const DAY: Duration = Duration::from_hours(24);
const DELTA: Duration = Duration::from_mins(10);
const FULL: Duration = Duration::from_hours(1);
/// The scheduler's poll, our own rate limit and the run itself.
const SLACK: Duration = secs(45);

/// What a day left behind.
struct Day {
    /// Start of each successful run with its mode.
    runs: BTreeMap<ScopeKey, Vec<(OffsetDateTime, Mode)>>,
    calls: Vec<Call>,
    began: tokio::time::Instant,
    dawn: OffsetDateTime,
    failures: usize,
    trace: [u8; 32],
}

async fn simulate(seed: u64, length: Duration) -> Day {
    let rates = Rates { platform: Some(10.0), team: Some(2.0), burst: NonZeroU32::MIN };
    // Polls that only make up for lost nudges need not fill the day.
    let mut universe = Universe::new(seed).limited(rates).tuned(|settings| {
        settings.dispatch_poll = secs(10);
        settings.outbox_poll = secs(10);
        settings.gates_every = secs(60);
        settings.heartbeat = secs(60);
        settings.join_wait = secs(120);
        settings.dead_after = secs(180);
    });
    for team in 1..=TEAMS {
        let team = universe.team(team, 3, 1).await;
        universe.platform.with_world(team, |world| world.latency = secs(1));
    }
    let (began, dawn) = (tokio::time::Instant::now(), universe.wall());
    universe.start_replica().await;
    pass(length).await;
    universe.shutdown().await;
    let mut trace = Sha256::new();
    let (mut runs, mut failures) = (BTreeMap::<_, Vec<_>>::new(), 0);
    for team in (1..=TEAMS).map(TeamId) {
        for event in universe.events(team) {
            trace.update(serde_json::to_vec(&event).unwrap());
            match event.body {
                EventBody::Completed(done) => {
                    let key = ScopeKey::new(team, done.scope);
                    runs.entry(key).or_default().push((done.verified_at.unwrap(), done.mode));
                }
                _ => failures += 1,
            }
        }
    }
    let calls = universe.platform.calls();
    for call in &calls {
        trace.update(format!("{} {:?} {:?}", call.team, call.method, call.at - began));
    }
    Day { runs, calls, began, dawn, failures, trace: trace.finalize().into() }
}

fn assert_on_time(day: &Day) {
    let late = |interval: Duration| interval.mul_f64(1.05) + SLACK;
    let end = day.dawn + DAY;
    for (key, runs) in &day.runs {
        let interval = if key.scope == Scope::ArchivedSites { FULL } else { DELTA };
        let every = |runs: Vec<OffsetDateTime>, interval: Duration| {
            let ends = runs.iter().skip(1).copied().chain([end]);
            for (one, next) in runs.iter().zip(ends) {
                assert!(next - *one <= late(interval), "{key}: {one} to {next}");
            }
        };
        every(runs.iter().map(|(at, _)| *at).collect(), interval);
        let fulls = runs.iter().filter(|(_, mode)| *mode == Mode::Full);
        every(fulls.map(|(at, _)| *at).collect(), FULL);
        assert!(runs[0].0 - day.dawn <= secs(300), "{key}: first at {}", runs[0].0);
    }
}

/// Chi-square of where in the interval the runs of the scopes with this
/// interval begin, over so many buckets. The first hours, in which a new
/// installation loads everything at once, are left out.
fn unevenness(day: &Day, scopes: &[Scope], interval: Duration, buckets: usize) -> f64 {
    let mut counts = vec![0_u32; buckets];
    let mut sum = 0;
    for (key, runs) in &day.runs {
        for (at, _) in runs.iter().filter(|(at, _)| *at >= day.dawn + secs(3 * 3600)) {
            if scopes.contains(&key.scope) {
                let place = (*at - day.dawn).whole_milliseconds() as u128 % interval.as_millis();
                counts[(place * buckets as u128 / interval.as_millis()) as usize] += 1;
                sum += 1;
            }
        }
    }
    let expected = f64::from(sum) / buckets as f64;
    let chi = counts.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum::<f64>();
    // A scope comes again in the same place all day long: what is drawn
    // independently is the scope's phase, not each of its runs.
    let drawn = day.runs.keys().filter(|key| scopes.contains(&key.scope)).count();
    chi * drawn as f64 / f64::from(sum)
}

fn assert_within_limits(day: &Day) {
    let mut calls: Vec<_> = day.calls.iter().map(|call| (call.at - day.began, call.team)).collect();
    calls.sort_unstable();
    let span = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64();
    // n + 1 requests take at least n intervals.
    for window in calls.windows(101) {
        let took = span(window[0].0, window[100].0);
        assert!(took >= 9.9, "101 requests within {took} s");
    }
    for team in (1..=TEAMS).map(TeamId) {
        let own: Vec<_> = calls.iter().filter(|call| call.1 == team).collect();
        for window in own.windows(5) {
            let took = span(window[0].0, window[4].0);
            assert!(took >= 1.9, "team {team}: 5 requests within {took} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_scopes_are_on_time_all_day_and_spread_evenly() {
    let day = simulate(11, DAY).await;
    assert_eq!(day.runs.len(), 201);
    assert_eq!(day.failures, 0);
    assert_on_time(&day);
    // 99.9 % of all samples of an even distribution stay below (nine degrees
    // of freedom).
    let ten_minutes = unevenness(&day, &[Environments, JobLogs], DELTA, 10);
    assert!(ten_minutes < 27.9, "{ten_minutes}");
    let hour = unevenness(&day, &[ArchivedSites], FULL, 10);
    assert!(hour < 27.9, "{hour}");
    assert_within_limits(&day);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_its_trace_and_another_does_not() {
    let trace = |seed| async move { simulate(seed, secs(3600)).await.trace };
    let first = trace(5).await;
    assert_eq!(trace(5).await, first);
    assert_ne!(trace(6).await, first);
}
