//! Ten thousand teams come back after a day without us: no herd, the longest
//! waiting first, and a person is served in between.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;
use vz_sync_actors::domain::cadence::{JITTER, after_success};
use vz_sync_actors::domain::{Class, Completeness, Counts, Mode, ScopeKey, TeamId};
use vz_sync_actors::embedded::limiter::Rates;
use vz_sync_actors::ports::due_queue::DueQueue as _;
use vz_sync_actors::ports::replicas::Replicas as _;
use vz_sync_actors::ports::store::{Applied, Apply, LeaseAnswer, Store as _, TableApply, Upserts};
use vz_sync_actors::settings::Settings;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{CLAIM, DEAD_AFTER, lease_ask, replica};
use vz_sync_actors::testkit::platform::{Call, Method};

use crate::common::*;

/// Requests per second that the platform takes, of all replicas together.
const CAP: f64 = 100.0;
const OUTAGE: Duration = Duration::from_hours(24);

/// What the return looked like.
struct Return {
    calls: Vec<Call>,
    /// Teams by when their environments became due, the longest due first.
    by_deadline: Vec<TeamId>,
    /// The longest that the due queue was at any second.
    deepest_queue: u64,
    /// How long each manual trigger waited for its first request.
    manual: Vec<Duration>,
    still_due: usize,
}

/// Everybody was in step, then nothing ran for a day, then two replicas start.
async fn come_back(
    teams: i64,
    watch: Duration,
    rates: Rates,
    tune: impl Fn(&mut Settings) + Send + 'static,
) -> Return {
    let mut universe = Universe::new(17).limited(rates).tuned(move |settings| {
        settings.permits.total = 32;
        // Polls that only make up for lost nudges need not fill the time.
        settings.dispatch_poll = secs(10);
        settings.outbox_poll = secs(10);
        settings.passivate_after = secs(5);
        settings.max_live = 300;
        tune(settings);
    });
    for id in 1..=teams {
        let team = universe.team(id, 1, 1).await;
        universe.platform.with_world(team, |world| world.latency = Duration::from_millis(200));
    }
    let deadlines = in_step(&universe).await;
    tokio::time::advance(OUTAGE).await;

    let began = Instant::now();
    universe.start_replica().await;
    universe.start_replica().await;
    let (mut deepest_queue, mut manual) = (0, Vec::new());
    let mut by_deadline: Vec<TeamId> = deadlines.keys().map(|key| key.team).collect();
    by_deadline.sort_by_key(|team| deadlines[&ScopeKey::new(*team, Environments)]);
    // Of the last ones in line, a few grow impatient.
    let mut impatient: Vec<TeamId> = by_deadline.iter().rev().take(5).copied().collect();
    while began.elapsed() < watch {
        pass(secs(1)).await;
        let depths = universe.due_queue.depths().await.unwrap();
        deepest_queue = deepest_queue.max(depths.high + depths.normal + depths.low);
        if began.elapsed().as_secs().is_multiple_of(20)
            && let Some(team) = impatient.pop()
        {
            let asked = Instant::now();
            universe.trigger(team, Environments, Class::Manual).await;
            let served = || universe.platform.count(team, Method::Environments) > 0;
            universe.until("a person is served", served).await;
            manual.push(asked.elapsed());
        }
    }
    let before = universe.wall() - (began.elapsed() + secs(1));
    let due = |team: &TeamId| universe.scope(*team, Environments).last_success_at < Some(before);
    let still_due = by_deadline.iter().filter(|team| due(team)).count();
    universe.shutdown().await;
    universe.abandon();
    Return { calls: universe.platform.calls(), by_deadline, deepest_queue, manual, still_due }
}

/// Commits a full run of every scope without asking the platform, and tells
/// when each is due next: by its phase, as after any success.
async fn in_step(universe: &Universe) -> HashMap<ScopeKey, time::OffsetDateTime> {
    let store = &universe.store;
    store.heartbeat(&replica(99), DEAD_AFTER).await.unwrap();
    let (mut deadlines, mut runs) = (HashMap::new(), 0);
    loop {
        let claimed = store.claim(&CLAIM).await.unwrap();
        if claimed.is_empty() {
            store.leave(replica(99).id).await.unwrap();
            deadlines.retain(|key: &ScopeKey, _| key.scope == Environments);
            return deadlines;
        }
        for entry in claimed {
            runs += 1;
            let mut ask = lease_ask(entry.key, entry.job, runs);
            ask.replica = replica(99).id;
            let LeaseAnswer::Granted(lease) = store.lease(&ask).await.unwrap() else {
                panic!("{} was not leased", entry.key)
            };
            let random = (runs as f64 * 0.618).fract();
            let now = lease.database_now;
            let due = after_success(
                entry.key,
                &lease.intervals,
                JITTER,
                &lease.due,
                Mode::Full,
                now,
                random,
            );
            deadlines.insert(entry.key, due.earliest());
            let tables = entry.key.scope.data_types().iter().map(|data_type| TableApply {
                data_type: *data_type,
                verified: true,
                upserts: Upserts::Inline(Vec::new()),
                missing: Vec::new(),
                stale: Vec::new(),
                quarantined: Vec::new(),
                counts: Counts::default(),
            });
            let apply = Apply {
                lease: lease.name,
                mode: Mode::Full,
                sent_at: Instant::now(),
                completeness: Completeness::Complete,
                doubt: None,
                tables: tables.collect(),
                holds: Vec::new(),
                annotations: Vec::new(),
                body: None,
                due,
                cursor: None,
                changed: Vec::new(),
                truncated: false,
                counts: Counts::default(),
                wake: None,
            };
            let applied = store.apply(&apply).await.unwrap();
            assert!(matches!(applied, Applied::Committed { .. }));
        }
    }
}

fn limited() -> Rates {
    Rates { platform: Some(CAP), team: Some(2.0), burst: NonZeroU32::MIN }
}

/// The most requests within any one second.
fn peak(back: &Return) -> usize {
    let mut times: Vec<_> = back.calls.iter().map(|call| call.at).collect();
    times.sort_unstable();
    let mut first = 0;
    let within = |(last, at): (usize, &Instant)| {
        while *at - times[first] >= secs(1) {
            first += 1;
        }
        last + 1 - first
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// By how many places the order of first listings strays from the order in
/// which the teams became due, at most; those that somebody asked for aside.
fn disorder(back: &Return) -> usize {
    let mut seen = HashSet::new();
    let firsts = back.calls.iter().filter(|call| call.method == Method::Environments);
    let firsts: Vec<TeamId> =
        firsts.map(|call| call.team).filter(|team| seen.insert(*team)).collect();
    let place: HashMap<_, _> =
        back.by_deadline.iter().enumerate().map(|(place, team)| (*team, place)).collect();
    let asked: HashSet<_> = back.by_deadline.iter().rev().take(5).collect();
    let scheduled = firsts.iter().filter(|team| !asked.contains(team));
    scheduled.enumerate().map(|(at, team)| at.abs_diff(place[team])).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_teams_come_back_without_a_herd() {
    let back = come_back(10_000, secs(400), limited(), |_| {}).await;
    let (peak, disorder) = (peak(&back), disorder(&back));
    assert!(peak as f64 <= CAP, "{peak} requests within a second");
    // All of them were due at once. Only the heads of the lines were queued.
    assert!(back.deepest_queue <= 1100, "{} entries in the due queue", back.deepest_queue);
    assert!(disorder <= 1000, "an order of 10,000 teams strays by {disorder} places");
    assert_eq!(back.manual.len(), 5);
    assert!(back.manual.iter().all(|waited| *waited <= secs(2)), "{:?}", back.manual);
    assert_eq!(back.still_due, 0, "teams that nobody came to");
}

#[tokio::test(start_paused = true)]
async fn control_without_the_limiter_the_cap_is_exceeded() {
    let rates = Rates { platform: None, team: None, burst: NonZeroU32::MIN };
    let back = come_back(1_000, secs(30), rates, |_| {}).await;
    let peak = peak(&back);
    assert!(peak as f64 > 2.0 * CAP, "only {peak} requests within a second");
}

#[tokio::test(start_paused = true)]
async fn control_without_the_window_all_are_queued_at_once() {
    let all = |settings: &mut Settings| settings.claim_batch = 1_000_000;
    let back = come_back(1_000, secs(5), limited(), all).await;
    assert!(back.deepest_queue > 2_500, "only {} entries in the due queue", back.deepest_queue);
    let back = come_back(1_000, secs(5), limited(), |_| {}).await;
    assert!(back.deepest_queue <= 1100, "{} entries in the due queue", back.deepest_queue);
}
