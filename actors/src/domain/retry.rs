//! What becomes of a run that failed (SPEC sections 2, 3 and 5).
//!
//! Only the failure's class decides; codes and words are for people.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::backoff::BackoffRules;
use super::failure::{Failure, FailureClass};
use super::job::JobState;

/// The limits of patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRules {
    /// Delays between attempts.
    pub backoff: BackoffRules,
    /// Attempts after which a job is given up.
    pub max_attempts: u32,
    /// Wait after a throttling that named no time.
    pub throttle_wait: Duration,
    /// Slow cadence of a scope whose answers make no sense.
    pub invalid_wait: Duration,
    /// Time between two probes of a refused key.
    pub auth_probe: Duration,
    /// A scope that failed so many times in a row ...
    pub pause_failures: u32,
    /// ... and for so long is paused.
    pub pause_after: Duration,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            backoff: BackoffRules::default(),
            max_attempts: 5,
            throttle_wait: Duration::from_secs(30),
            invalid_wait: Duration::from_hours(1),
            auth_probe: Duration::from_hours(1),
            pause_failures: 30,
            pause_after: Duration::from_hours(168),
        }
    }
}

/// Where the scope stood when the run failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// Failures in a row before this one.
    pub failures: u32,
    /// When they began.
    pub failing_since: Option<OffsetDateTime>,
    /// Database time.
    pub now: OffsetDateTime,
    /// A fraction in `[0, 1)`.
    pub random: f64,
}

/// What becomes of the job and of its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How the run ends.
    pub action: Action,
    /// How near the scope is to being paused.
    pub sustained: Sustained,
}

/// How the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Queue the job again after `wait`; counts as a failure.
    Retry {
        /// How long the state waits.
        wait: Duration,
    },
    /// Queue the job again after `wait` with its attempt given back; nobody
    /// failed.
    Postpone {
        /// A stable code.
        reason: &'static str,
        /// How long the state waits.
        wait: Duration,
    },
    /// End the job with one event; the state stays scheduled and waits.
    GiveUp {
        /// failed, or dead for faults of ours.
        state: JobState,
        /// How long the state waits.
        wait: Duration,
    },
    /// End the job; the team rests until its key is replaced or works again.
    RefuseKey {
        /// Time to the next probe of the key.
        probe_in: Duration,
    },
}

/// How near a scope is to being paused over failing for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sustained {
    /// Not near.
    No,
    /// Two thirds of both limits have passed: warn.
    Warn,
    /// Both limits have passed: pause the scope.
    Pause,
}

/// Least wait after a throttling, whatever was asked for. A throttled job gets
/// its attempt back: without a floor it would run in a hot loop.
const LEAST_THROTTLE: Duration = Duration::from_secs(1);

impl Sustained {
    /// What of it is news to who was warned before, or was not.
    #[must_use]
    pub fn news(self, warned: bool) -> Self {
        if self == Self::Warn && warned { Self::No } else { self }
    }
}

/// Judges a failed run.
pub fn after_failure(rules: &RetryRules, failure: &Failure, standing: &Standing) -> Verdict {
    let tries = standing.failures.saturating_add(1);
    let backoff = rules.backoff.delay_after(tries, failure.retry_after, standing.random);
    let last = standing.attempt >= rules.max_attempts;
    let action = match failure.class {
        FailureClass::Throttled => {
            // Without a named time, spread the askers over twice the wait.
            let own = rules.throttle_wait.mul_f64(1.0 + standing.random.clamp(0.0, 1.0));
            let wait = failure.retry_after.map_or(own, |wish| {
                // Those who were sent away together shall not come back together: the shorter the
                // wait, the sooner that would be repeated.
                let spread = LEAST_THROTTLE.mul_f64(standing.random.clamp(0.0, 1.0));
                (wish.max(LEAST_THROTTLE) + spread).min(rules.backoff.retry_after_cap)
            });
            return Verdict {
                action: Action::Postpone { reason: "throttled", wait },
                sustained: Sustained::No,
            };
        }
        FailureClass::Auth => {
            // The team rests as a whole until its key works; a scope that was
            // paused beside that would stay paused with the new key.
            let action = Action::RefuseKey { probe_in: rules.auth_probe };
            return Verdict { action, sustained: Sustained::No };
        }
        FailureClass::Invalid => {
            Action::GiveUp { state: JobState::Failed, wait: rules.invalid_wait.max(backoff) }
        }
        FailureClass::Internal if last => Action::GiveUp { state: JobState::Dead, wait: backoff },
        // A run that could not fall back on its own fares like any other.
        FailureClass::Retryable | FailureClass::Capability if last => {
            Action::GiveUp { state: JobState::Failed, wait: backoff }
        }
        FailureClass::Retryable | FailureClass::Capability | FailureClass::Internal => {
            Action::Retry { wait: backoff }
        }
    };
    Verdict { action, sustained: sustained(rules, tries, standing.failing_since, standing.now) }
}

/// How near a scope is to being paused: both limits count, so neither a burst
/// nor one failure a day pauses anybody.
pub fn sustained(
    rules: &RetryRules,
    failures: u32,
    failing_since: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Sustained {
    let Some(since) = failing_since else { return Sustained::No };
    if failures >= rules.pause_failures && now >= since + rules.pause_after {
        Sustained::Pause
    } else if u64::from(failures) * 3 >= u64::from(rules.pause_failures) * 2
        && now >= since + rules.pause_after * 2 / 3
    {
        Sustained::Warn
    } else {
        Sustained::No
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

    fn standing(attempt: u32, failures: u32) -> Standing {
        Standing { attempt, failures, failing_since: None, now: NOW, random: 0.5 }
    }

    fn judge(class: FailureClass, standing: &Standing) -> Verdict {
        after_failure(&RetryRules::default(), &Failure::new(class, "x", "x"), standing)
    }

    #[test]
    fn a_retryable_failure_is_tried_five_times_then_failed() {
        for attempt in 1..5 {
            let action = judge(FailureClass::Retryable, &standing(attempt, 0)).action;
            assert_eq!(action, Action::Retry { wait: Duration::from_secs(5) });
        }
        let action = judge(FailureClass::Retryable, &standing(5, 4)).action;
        let wait = Duration::from_secs(80);
        assert_eq!(action, Action::GiveUp { state: JobState::Failed, wait });
    }

    #[test]
    fn a_fault_of_ours_ends_dead() {
        let action = judge(FailureClass::Internal, &standing(4, 0)).action;
        assert!(matches!(action, Action::Retry { .. }));
        let action = judge(FailureClass::Internal, &standing(5, 0)).action;
        assert!(matches!(action, Action::GiveUp { state: JobState::Dead, .. }));
    }

    #[test]
    fn throttling_is_nobodys_failure_however_often() {
        let mut failure = Failure::new(FailureClass::Throttled, "429", "x");
        failure.retry_after = Some(Duration::from_hours(2));
        let mut standing = standing(99, 99);
        standing.failing_since = Some(NOW - Duration::from_hours(2400));
        let verdict = after_failure(&RetryRules::default(), &failure, &standing);
        let wait = Duration::from_hours(1);
        assert_eq!(verdict.action, Action::Postpone { reason: "throttled", wait });
        assert_eq!(verdict.sustained, Sustained::No);
        failure.retry_after = None;
        let verdict = after_failure(&RetryRules::default(), &failure, &standing);
        let wait = Duration::from_secs(45);
        assert_eq!(verdict.action, Action::Postpone { reason: "throttled", wait });
    }

    #[test]
    fn throttling_that_asks_for_no_time_is_spread_all_the_same() {
        for wish in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(1)] {
            let mut failure = Failure::new(FailureClass::Throttled, "429", "x");
            failure.retry_after = Some(wish);
            let waits = [0.0, 0.5, 0.99].map(|random| {
                let standing = Standing { random, ..standing(1, 0) };
                let action = after_failure(&RetryRules::default(), &failure, &standing).action;
                let Action::Postpone { wait, .. } = action else { panic!("{action:?}") };
                wait.as_millis()
            });
            assert_eq!(waits, [1000, 1500, 1990]);
        }
    }

    #[test]
    fn a_refused_key_is_probed_hourly_and_nonsense_asked_for_slowly() {
        let action = judge(FailureClass::Auth, &standing(1, 0)).action;
        assert_eq!(action, Action::RefuseKey { probe_in: Duration::from_hours(1) });
        let long =
            Standing { failing_since: Some(NOW - Duration::from_hours(2400)), ..standing(1, 100) };
        assert_eq!(judge(FailureClass::Auth, &long).sustained, Sustained::No);
        assert_eq!(judge(FailureClass::Invalid, &long).sustained, Sustained::Pause);
        let action = judge(FailureClass::Invalid, &standing(1, 0)).action;
        let wait = Duration::from_hours(1);
        assert_eq!(action, Action::GiveUp { state: JobState::Failed, wait });
    }

    #[test]
    fn a_warning_is_news_once_and_a_pause_always() {
        assert_eq!(Sustained::Warn.news(false), Sustained::Warn);
        assert_eq!(Sustained::Warn.news(true), Sustained::No);
        assert_eq!(Sustained::Pause.news(true), Sustained::Pause);
        assert_eq!(Sustained::No.news(false), Sustained::No);
    }

    #[test]
    fn only_many_failures_over_a_long_time_pause() {
        let rules = RetryRules::default();
        let days = |days: u64| Some(NOW - Duration::from_secs(days * 24 * 3600));
        let of = |failures, since| sustained(&rules, failures, since, NOW);
        assert_eq!(of(1000, days(1)), Sustained::No, "a burst");
        assert_eq!(of(7, days(7)), Sustained::No, "one a day");
        assert_eq!(of(1000, None), Sustained::No);
        assert_eq!(of(20, days(5)), Sustained::Warn);
        assert_eq!(of(19, days(5)), Sustained::No);
        assert_eq!(of(20, days(4)), Sustained::No);
        assert_eq!(of(29, days(7)), Sustained::Warn);
        assert_eq!(of(30, days(6)), Sustained::Warn);
        assert_eq!(of(30, days(7)), Sustained::Pause);
    }

    proptest! {
        #[test]
        fn without_a_wish_a_retry_comes_within_five_minutes(
            attempt in 1..5_u32, failures: u32, random in 0.0..1.0_f64,
        ) {
            let standing = Standing { random, ..standing(attempt, failures) };
            let verdict = judge(FailureClass::Retryable, &standing);
            let Action::Retry { wait } = verdict.action else {
                return Err(TestCaseError::fail("not retried"));
            };
            prop_assert!((1..=300).contains(&wait.as_secs()));
        }
    }
}
