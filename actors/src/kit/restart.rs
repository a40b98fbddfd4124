//! When to restart an actor and when to give up: a pure value, with no actor in sight.
//!
//! The words are Erlang's: a *permanent* actor always comes back, a *transient* one after a
//! failure only, a *temporary* one never; more than `intensity` exits within `window` mean that
//! restarting does not help.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::view::ExitCause;

/// Which exits an actor comes back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Every exit, even a clean one.
    Permanent,
    /// Error, panic and kill; a clean exit is the end.
    Transient,
    /// None.
    Temporary,
}

impl Lifetime {
    /// Whether an actor of this lifetime is restarted after such an exit.
    pub fn restarts_after(self, cause: ExitCause) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => cause != ExitCause::Clean,
            Self::Temporary => false,
        }
    }
}

/// How restarts are paced and when they end.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// Delay before the first restart.
    pub base: Duration,
    /// No delay is longer, jitter included.
    pub cap: Duration,
    /// Growth of the delay from one restart to the next; below 1 counts as 1.
    pub multiplier: f64,
    /// The share of the delay that chance may take away, 0 to 1.
    pub jitter: f64,
    /// Exits tolerated within `window`; one more and the supervisor gives up.
    pub intensity: u32,
    /// The sliding window of `intensity`.
    pub window: Duration,
    /// An actor that stayed up this long starts again from `base`. A parked pool child may try
    /// again after the same time.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            multiplier: 2.0,
            jitter: 0.2,
            intensity: 5,
            window: Duration::from_secs(30),
            reset_after: Duration::from_mins(1),
        }
    }
}

impl RestartPolicy {
    /// The delay before restart number `attempt` (from 0), given a random number in `[0, 1)`.
    pub fn delay(&self, attempt: u32, random01: f64) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let grown = self.base.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        let cap = self.cap.as_secs_f64();
        // `min` also turns an overflow to infinity into the cap.
        let full = grown.min(cap);
        let taken = self.jitter.clamp(0.0, 1.0) * random01.clamp(0.0, 1.0);
        Duration::from_secs_f64(full * (1.0 - taken)).min(self.cap)
    }
}

/// What to do after an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start it again after this delay.
    RestartAfter(Duration),
    /// The intensity is used up.
    GiveUp,
}

/// The exits of one child, and what follows from them.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: RestartPolicy,
    recent: VecDeque<Instant>,
    attempt: u32,
    up_since: Option<Instant>,
}

impl Restarts {
    /// No exits yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::new(), attempt: 0, up_since: None }
    }

    /// The policy it follows.
    pub fn policy(&self) -> &RestartPolicy {
        &self.policy
    }

    /// Forgets every exit, as after a restart that a human asked for.
    pub fn reset(&mut self) {
        *self = Self::new(self.policy.clone());
    }

    /// Decides after an exit that shall be followed by a restart. `random01` in `[0, 1)` is the
    /// jitter's dice.
    pub fn on_exit(&mut self, now: Instant, random01: f64) -> Decision {
        if self
            .up_since
            .is_some_and(|up| now.saturating_duration_since(up) >= self.policy.reset_after)
        {
            self.attempt = 0;
            self.recent.clear();
        }
        while self
            .recent
            .front()
            .is_some_and(|exit| now.saturating_duration_since(*exit) >= self.policy.window)
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.policy.intensity as usize {
            return Decision::GiveUp;
        }
        self.recent.push_back(now);
        let delay = self.policy.delay(self.attempt, random01);
        self.attempt = self.attempt.saturating_add(1);
        self.up_since = now.checked_add(delay);
        Decision::RestartAfter(delay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(base_ms: u64, cap_ms: u64, multiplier: f64, jitter: f64) -> RestartPolicy {
        RestartPolicy {
            base: Duration::from_millis(base_ms),
            cap: Duration::from_millis(cap_ms),
            multiplier,
            jitter,
            ..RestartPolicy::default()
        }
    }

    #[test]
    fn lifetimes_are_erlangs() {
        for cause in ExitCause::ALL {
            assert!(Lifetime::Permanent.restarts_after(cause));
            assert!(!Lifetime::Temporary.restarts_after(cause));
            assert_eq!(Lifetime::Transient.restarts_after(cause), cause != ExitCause::Clean);
        }
    }

    #[test]
    fn one_exit_more_than_the_intensity_within_the_window_gives_up() {
        let mut restarts = Restarts::new(RestartPolicy::default());
        let now = Instant::now();
        for _ in 0..5 {
            assert!(matches!(restarts.on_exit(now, 0.0), Decision::RestartAfter(_)));
        }
        assert_eq!(restarts.on_exit(now, 0.0), Decision::GiveUp);
        let later = now + RestartPolicy::default().window;
        assert!(matches!(restarts.on_exit(later, 0.0), Decision::RestartAfter(_)));
    }

    #[test]
    fn staying_up_long_enough_starts_again_from_the_base_delay() {
        let policy = policy(100, 10_000, 2.0, 0.0);
        let mut restarts = Restarts::new(policy.clone());
        let now = Instant::now();
        restarts.on_exit(now, 0.0);
        assert_eq!(restarts.on_exit(now, 0.0), Decision::RestartAfter(Duration::from_millis(200)));
        let up = now + Duration::from_millis(200);
        let almost = up + policy.reset_after - Duration::from_millis(1);
        assert_eq!(
            restarts.clone().on_exit(almost, 0.0),
            Decision::RestartAfter(Duration::from_millis(400))
        );
        let long = up + policy.reset_after;
        assert_eq!(restarts.on_exit(long, 0.0), Decision::RestartAfter(policy.base));
    }

    proptest! {
        #[test]
        fn a_delay_never_passes_the_cap_and_jitter_takes_at_most_its_share(
            base in 1_u64..10_000, cap in 1_u64..600_000, multiplier in 0.0_f64..10.0,
            jitter in 0.0_f64..1.0, attempt in 0_u32..10_000, random in 0.0_f64..1.0,
        ) {
            let policy = policy(base, cap, multiplier, jitter);
            let full = policy.delay(attempt, 0.0);
            let delay = policy.delay(attempt, random);
            prop_assert!(full <= policy.cap);
            prop_assert!(delay <= full);
            let least = full.as_secs_f64() * (1.0 - jitter) - 1e-6;
            prop_assert!(delay.as_secs_f64() >= least);
        }

        #[test]
        fn without_jitter_delays_never_shrink(
            base in 1_u64..10_000, cap in 1_u64..600_000, multiplier in 0.0_f64..10.0,
            attempt in 0_u32..5_000,
        ) {
            let policy = policy(base, cap, multiplier, 0.0);
            prop_assert!(policy.delay(attempt, 0.0) <= policy.delay(attempt + 1, 0.0));
        }

        #[test]
        fn at_most_intensity_restarts_fall_into_any_window(
            gaps in prop::collection::vec(0_u64..20_000, 1..60), intensity in 0_u32..6,
        ) {
            let policy = RestartPolicy {
                intensity,
                // Longer than the test, so that only the window forgets.
                reset_after: Duration::from_hours(24),
                ..RestartPolicy::default()
            };
            let window = policy.window;
            let mut restarts = Restarts::new(policy);
            let mut now = Instant::now();
            let mut granted: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if matches!(restarts.on_exit(now, 0.5), Decision::RestartAfter(_)) {
                    granted.push(now);
                }
                let inside = granted.iter().filter(|at| now - **at < window).count();
                prop_assert!(inside <= intensity as usize);
            }
        }
    }
}
