//! When a scope is due by itself (SPEC section 3).
//!
//! Each (team, scope) has a phase, a stable hash of its name, that fixes its
//! slots on the time line: load is spread evenly, and a restart changes
//! nothing, because nothing is remembered that could be forgotten.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::ids::ScopeKey;
use super::scope::Mode;

/// When a state is due by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueTimes {
    /// Next full.
    #[serde(with = "time::serde::rfc3339")]
    pub full: OffsetDateTime,
    /// Next delta.
    #[serde(with = "time::serde::rfc3339")]
    pub delta: OffsetDateTime,
}

impl DueTimes {
    /// Due at once: a new team, or a new key.
    pub const fn at_once(now: OffsetDateTime) -> Self {
        Self { full: now, delta: now }
    }

    /// The nearer of the two.
    pub fn earliest(&self) -> OffsetDateTime {
        self.full.min(self.delta)
    }
}

/// How often a state is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervals {
    /// Between fulls.
    pub full: Duration,
    /// Between deltas.
    pub delta: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { full: Duration::from_hours(1), delta: Duration::from_mins(10) }
    }
}

/// Default jitter on the time after a success, as a share of the interval
/// either way.
pub const JITTER: f64 = 0.05;

/// A slot nearer than the jitter and this share of the interval was served by
/// the run that just succeeded: the jitter may have brought it forward.
const SERVED: f64 = 0.05;

/// The scope's place in the interval, from 0 up to but excluding `interval`.
/// Uniform over scopes and the same for ever.
pub fn phase(key: ScopeKey, interval: Duration) -> Duration {
    let digest = Sha256::digest(key.to_string().as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    let span = interval.as_nanos();
    // A fixed-point fraction of 64 bits: exact, unlike a float.
    let nanos = (u128::from(u64::from_be_bytes(head)) * span) >> 64;
    Duration::from_nanos(nanos as u64)
}

/// The scope's next slot strictly after `after`.
pub fn next_slot(key: ScopeKey, interval: Duration, after: OffsetDateTime) -> OffsetDateTime {
    let span = (interval.as_nanos() as i128).max(1);
    let phase = phase(key, interval).as_nanos() as i128;
    let since = after.unix_timestamp_nanos() - phase;
    let slot = (since.div_euclid(span) + 1) * span + phase;
    OffsetDateTime::from_unix_timestamp_nanos(slot).unwrap_or(after + interval)
}

/// Due times after a run succeeded. A full also resets the delta. `jitter` is
/// a share of the interval either way, `random` a fraction in `[0, 1)`.
pub fn after_success(
    key: ScopeKey,
    intervals: &Intervals,
    jitter: f64,
    due: &DueTimes,
    mode: Mode,
    now: OffsetDateTime,
    random: f64,
) -> DueTimes {
    let after = |interval| after_run(key, interval, jitter, now, random);
    let delta = after(intervals.delta);
    match mode {
        Mode::Full => DueTimes { full: after(intervals.full), delta },
        Mode::Delta => DueTimes { full: due.full, delta },
    }
}

/// The next slot that is not served yet, with jitter; always in the future and
/// at most an interval and its jitter away.
fn after_run(
    key: ScopeKey,
    interval: Duration,
    jitter: f64,
    now: OffsetDateTime,
    random: f64,
) -> OffsetDateTime {
    let slot = next_slot(key, interval, now + interval.mul_f64(jitter + SERVED));
    let reach = interval.mul_f64(jitter);
    let jittered = slot - reach + (reach * 2).mul_f64(random.clamp(0.0, 1.0));
    jittered.min(now + interval + reach)
}

/// How much a run asks for, chosen when its lease is taken. `None`: nothing is
/// due and nothing was asked for. What was never loaded can only be loaded as
/// a whole.
pub fn choose_mode(
    now: OffsetDateTime,
    due: &DueTimes,
    requested: Option<Mode>,
    last_full_at: Option<OffsetDateTime>,
) -> Option<Mode> {
    let own = if due.full <= now {
        Some(Mode::Full)
    } else if due.delta <= now {
        Some(Mode::Delta)
    } else {
        None
    };
    let mode = requested.max(own)?;
    Some(if last_full_at.is_none() { Mode::Full } else { mode })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::domain::{Scope, TeamId};

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);
    const HOUR: Duration = Duration::from_hours(1);

    fn key(team: i64) -> ScopeKey {
        ScopeKey::new(TeamId(team), Scope::Environments)
    }

    #[test]
    fn ten_thousand_scopes_spread_evenly_over_the_hour() {
        let mut buckets = [0_u32; 60];
        for team in 0..10_000 {
            buckets[(phase(key(team), HOUR).as_secs() / 60) as usize] += 1;
        }
        // 166.7 expected a minute, standard deviation 12.8: five of them.
        assert!(buckets.iter().all(|n| (103..=231).contains(n)), "{buckets:?}");
    }

    #[test]
    fn the_phase_is_the_same_after_an_upgrade() {
        // A changed hash would make every scope of every installation due at
        // another time at once.
        assert_eq!(phase(key(42), HOUR), Duration::from_nanos(1_838_077_000_228));
    }

    #[test]
    fn what_was_never_loaded_is_loaded_as_a_whole() {
        let later = DueTimes::at_once(NOW + HOUR);
        let some = Some(NOW);
        assert_eq!(choose_mode(NOW, &later, None, some), None);
        assert_eq!(choose_mode(NOW, &later, Some(Mode::Delta), some), Some(Mode::Delta));
        assert_eq!(choose_mode(NOW, &later, Some(Mode::Delta), None), Some(Mode::Full));
        assert_eq!(choose_mode(NOW, &later, Some(Mode::Full), some), Some(Mode::Full));
        let delta = DueTimes { full: NOW + HOUR, delta: NOW };
        assert_eq!(choose_mode(NOW, &delta, None, some), Some(Mode::Delta));
        assert_eq!(choose_mode(NOW, &delta, Some(Mode::Full), some), Some(Mode::Full));
        let both = DueTimes::at_once(NOW);
        assert_eq!(choose_mode(NOW, &both, Some(Mode::Delta), some), Some(Mode::Full));
    }

    #[test]
    fn without_jitter_runs_keep_to_their_slots() {
        let (intervals, before) = (Intervals::default(), DueTimes::at_once(NOW));
        let due = after_success(key(7), &intervals, 0.0, &before, Mode::Full, NOW, 0.9);
        assert_eq!(due.full, next_slot(key(7), intervals.full, NOW + intervals.full / 20));
    }

    proptest! {
        #[test]
        fn the_next_time_is_ahead_and_within_reach(
            team: i64, at in 0..10_000_000_i64, minutes in 1..1440_u64, random in 0.0..1.0_f64,
            jitter in 0.0..=0.5_f64,
        ) {
            let now = NOW + Duration::from_millis(at as u64 * 100);
            let interval = Duration::from_secs(minutes * 60);
            let intervals = Intervals { full: interval, delta: interval / 2 };
            let before = DueTimes::at_once(now);
            let next = |before, mode| {
                after_success(key(team), &intervals, jitter, before, mode, now, random)
            };
            let due = next(&before, Mode::Full);
            let latest = |interval: Duration| now + interval.mul_f64(1.0 + jitter + 1e-6);
            prop_assert!(due.full > now + interval.mul_f64(0.049));
            prop_assert!(due.full <= latest(interval));
            prop_assert!(due.delta > now);
            prop_assert!(due.delta <= latest(interval / 2));
            let due = next(&due, Mode::Delta);
            prop_assert!(due.full > now, "a delta leaves the full where it was");
        }

        #[test]
        fn runs_on_time_come_once_an_interval(
            team: i64, seed in 0.0..1.0_f64, jitter in 0.0..=0.2_f64,
        ) {
            let intervals = Intervals::default();
            let mut due = DueTimes::at_once(NOW);
            let mut runs = 0;
            let mut random = seed;
            while due.full < NOW + HOUR * 24 {
                let now = due.full + Duration::from_secs(2);
                random = (random * 7.0 + 0.37).fract();
                due = after_success(key(team), &intervals, jitter, &due, Mode::Full, now, random);
                runs += 1;
            }
            prop_assert!((24..=26).contains(&runs), "{runs} fulls a day");
        }

        #[test]
        fn slots_are_one_interval_apart(team: i64, secs in 1..100_000_u64) {
            let interval = Duration::from_secs(secs);
            let first = next_slot(key(team), interval, NOW);
            prop_assert!(first > NOW && first <= NOW + interval);
            prop_assert_eq!(next_slot(key(team), interval, first), first + interval);
        }
    }
}
