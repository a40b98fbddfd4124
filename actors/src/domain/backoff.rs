//! How long to wait after a failure: full-jitter exponential, clamped by us.
//!
//! The only user of the unmaintained `backoff` crate, which serves as a pure
//! delay sequence: its own jitter is applied after its cap (a factor of 0.5
//! gives 382 s past a cap of 300 s), so its factor is 0 and the jitter is drawn
//! from a fraction that the caller injects. Nothing here sleeps.

use std::time::Duration;

use ::backoff::ExponentialBackoff;
use ::backoff::backoff::Backoff as _;
use serde::{Deserialize, Serialize};

/// The shape of the delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffRules {
    /// Ceiling of the first delay.
    pub initial: Duration,
    /// Ceiling of every delay of our own.
    pub cap: Duration,
    /// No delay is shorter, however the dice fall.
    pub floor: Duration,
    /// A platform's wish for patience is obeyed up to this; then we ask again.
    pub retry_after_cap: Duration,
}

impl Default for BackoffRules {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(10),
            cap: Duration::from_mins(5),
            floor: Duration::from_secs(1),
            retry_after_cap: Duration::from_hours(1),
        }
    }
}

impl BackoffRules {
    /// The longest delay before try `n` (from 1), without jitter: doubling
    /// from `initial` up to `cap`.
    pub fn ceiling(&self, n: u32) -> Duration {
        let mut sequence = ExponentialBackoff {
            current_interval: self.initial,
            initial_interval: self.initial,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: self.cap,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // 64 doublings reach any cap; more would only burn time.
        let steps = n.clamp(1, 64);
        let last = (0..steps).filter_map(|_| sequence.next_backoff()).last();
        last.unwrap_or(self.cap).min(self.cap)
    }

    /// The delay before try `n` (from 1): uniform between the floor and the
    /// ceiling. `random` is a fraction in `[0, 1)`.
    pub fn delay(&self, n: u32, random: f64) -> Duration {
        let drawn = self.ceiling(n).mul_f64(random.clamp(0.0, 1.0));
        drawn.max(self.floor).min(self.cap)
    }

    /// The same, but never sooner than the platform asked for.
    pub fn delay_after(&self, n: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        let own = self.delay(n, random);
        retry_after.map_or(own, |wish| own.max(wish.min(self.retry_after_cap)))
    }
}

/// How long a job waits that met a live lease (`vz_sync_skip_locked`).
pub const COLLISION_DELAY: Duration = Duration::from_secs(30);

/// Least time between two demand runs of one scope.
pub const DEMAND_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_from_ten_seconds_to_five_minutes() {
        let rules = BackoffRules::default();
        let seconds: Vec<u64> = (1..=8).map(|n| rules.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(rules.ceiling(0), rules.ceiling(1));
        assert_eq!(rules.ceiling(u32::MAX), Duration::from_mins(5));
    }

    #[test]
    fn a_wish_for_patience_is_obeyed_up_to_an_hour() {
        let rules = BackoffRules::default();
        let after = |secs| rules.delay_after(1, Some(Duration::from_secs(secs)), 0.5).as_secs();
        assert_eq!(after(0), 5);
        assert_eq!(after(120), 120);
        assert_eq!(after(1200), 1200, "five minutes cap only our own delay");
        assert_eq!(after(86_400), 3600);
    }

    proptest! {
        #[test]
        fn our_own_delay_stays_between_floor_and_cap(n: u32, random in -1.0..2.0_f64) {
            let rules = BackoffRules::default();
            let delay = rules.delay(n, random);
            prop_assert!(delay >= rules.floor);
            prop_assert!(delay <= Duration::from_mins(5));
            prop_assert!(delay <= rules.ceiling(n).max(rules.floor));
        }

        #[test]
        fn never_sooner_than_the_platform_asked(
            n in 0..100_u32, wish in 0..3600_u64, random in 0.0..1.0_f64,
        ) {
            let wish = Duration::from_secs(wish);
            let delay = BackoffRules::default().delay_after(n, Some(wish), random);
            prop_assert!(delay >= wish);
            prop_assert!(delay <= wish.max(Duration::from_mins(5)));
        }
    }
}
