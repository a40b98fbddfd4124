//! How old an answer is, and why it is no younger (SPEC section 7).
//!
//! `current` must never be a lie: age counts from the moment the listing's
//! request was sent, by the database's clock, and a row in doubt does not
//! share in its table's verification.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::baseline::RowFlags;
use super::cadence::DueTimes;

/// The two words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Age {
    /// Younger than allowed.
    Current,
    /// As old as allowed, or older, or never read.
    Stale,
}

/// Why an answer is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The pipeline is off, or the rollout leaves the team out.
    OutOfRollout,
    /// No key is stored.
    NoCredentials,
    /// The key is refused.
    Auth,
    /// Paused by people or by the sustained-failure rule.
    Paused,
    /// The key may not read it.
    CapabilityMissing,
    /// The row's removal waits for a decision.
    RemovalsHeld,
    /// A run is under way.
    Running,
    /// The platform does not answer anybody.
    CircuitOpen,
    /// The platform asked for patience.
    Throttled,
    /// The last runs failed; the next try waits.
    Failing,
    /// A run is queued.
    Queued,
    /// Nothing was ever read, and nothing is under way.
    NeverSynced,
    /// The next run is due or will be.
    Due,
}

impl Reason {
    /// The word used in JSON and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfRollout => "out_of_rollout",
            Self::NoCredentials => "no_credentials",
            Self::Auth => "auth",
            Self::Paused => "paused",
            Self::CapabilityMissing => "capability_missing",
            Self::RemovalsHeld => "removals_held",
            Self::Running => "running",
            Self::CircuitOpen => "circuit_open",
            Self::Throttled => "throttled",
            Self::Failing => "failing",
            Self::Queued => "queued",
            Self::NeverSynced => "never_synced",
            Self::Due => "due",
        }
    }

    /// Whether asking for a run can help: a stale read enqueues one only then.
    pub const fn can_be_helped(self) -> bool {
        !matches!(
            self,
            Self::OutOfRollout
                | Self::NoCredentials
                | Self::Auth
                | Self::Paused
                | Self::CapabilityMissing
                | Self::CircuitOpen
        )
    }
}

/// How the scope stands that keeps the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeFacts {
    /// The pipeline is off, or the rollout leaves the team out.
    pub out_of_rollout: bool,
    /// Whether a key is stored.
    pub has_credentials: bool,
    /// The key is refused; when it is probed next, if that is known.
    pub auth: Option<Option<OffsetDateTime>>,
    /// Paused.
    pub paused: bool,
    /// The key may not read what the scope consists of.
    pub capability_missing: bool,
    /// A lease lives.
    pub running: bool,
    /// A job waits for its lease.
    pub queued: bool,
    /// The platform's circuit is open until then.
    pub circuit_open_until: Option<OffsetDateTime>,
    /// The state waits until then ...
    pub not_before: Option<OffsetDateTime>,
    /// ... because the platform asked for it.
    pub throttled: bool,
    /// Failures in a row.
    pub failures: u32,
    /// When they began.
    pub failing_since: Option<OffsetDateTime>,
    /// When it is due by itself.
    pub due: DueTimes,
}

/// What the age of an answer is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Database time.
    pub now: OffsetDateTime,
    /// Effective time of the answer; see [`effective_synced_at`].
    pub synced_at: Option<OffsetDateTime>,
    /// How old it may be and still be called current.
    pub max_allowed: Duration,
    /// The answer is one row whose removal is held, or a table's with holds.
    pub removals_held: bool,
    /// Its scope.
    pub scope: ScopeFacts,
}

/// The freshness block of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// `current` or `stale`.
    pub freshness: Age,
    /// When the answer's request was sent; `None` before the first.
    #[serde(with = "time::serde::rfc3339::option")]
    pub synced_at: Option<OffsetDateTime>,
    /// How old it may be and still be called current.
    pub max_allowed_staleness_seconds: u64,
    /// It stops being current at this moment.
    #[serde(with = "time::serde::rfc3339::option")]
    pub fresh_until: Option<OffsetDateTime>,
    /// Why it is stale, when it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stale_reason: Option<Reason>,
    /// What the reason speaks of lasts until then (throttled, circuit open) or
    /// has lasted since (failing).
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub stale_reason_at: Option<OffsetDateTime>,
    /// When the next try is expected, when it is stale and one is expected.
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub next_attempt_at: Option<OffsetDateTime>,
}

/// The time an answer about a row counts from: the later of the row's own and
/// its table's, unless the row is in doubt.
pub fn effective_synced_at(
    row: OffsetDateTime,
    table_verified_at: Option<OffsetDateTime>,
    flags: &RowFlags,
) -> OffsetDateTime {
    if flags.any() { row } else { table_verified_at.map_or(row, |table| table.max(row)) }
}

/// Computes the freshness block.
pub fn freshness(facts: &Facts) -> Freshness {
    // A time ahead of the database's clock would stretch the promise.
    let synced_at = facts.synced_at.map(|at| at.min(facts.now));
    let max = i64::try_from(facts.max_allowed.as_secs()).unwrap_or(i64::MAX);
    let fresh_until = synced_at.and_then(|at| {
        at.checked_add(time::Duration::new(max, facts.max_allowed.subsec_nanos() as i32))
    });
    let current = match (synced_at, fresh_until) {
        (Some(_), Some(until)) => facts.now < until,
        // A limit past the end of the calendar is never reached.
        (Some(_), None) => true,
        (None, _) => false,
    };
    let mut block = Freshness {
        freshness: if current { Age::Current } else { Age::Stale },
        synced_at,
        max_allowed_staleness_seconds: facts.max_allowed.as_secs(),
        fresh_until,
        stale_reason: None,
        stale_reason_at: None,
        next_attempt_at: None,
    };
    if !current {
        let (reason, at, next) = reason(facts);
        block.stale_reason = Some(reason);
        block.stale_reason_at = at;
        block.next_attempt_at = next;
    }
    block
}

type Why = (Reason, Option<OffsetDateTime>, Option<OffsetDateTime>);

/// The first obstacle in the order in which they would have to be cleared.
fn reason(facts: &Facts) -> Why {
    let (now, scope) = (facts.now, &facts.scope);
    let waits = scope.not_before.filter(|at| *at > now);
    let due = scope.due.earliest().max(now);
    let next = waits.map_or(due, |at| at.max(due));
    if scope.out_of_rollout {
        (Reason::OutOfRollout, None, None)
    } else if !scope.has_credentials {
        (Reason::NoCredentials, None, None)
    } else if let Some(probe) = scope.auth {
        (Reason::Auth, None, probe.map(|at| at.max(now)))
    } else if scope.paused {
        (Reason::Paused, None, None)
    } else if scope.capability_missing {
        (Reason::CapabilityMissing, None, Some(next))
    } else if facts.removals_held {
        (Reason::RemovalsHeld, None, Some(next))
    } else if scope.running {
        (Reason::Running, None, Some(now))
    } else if let Some(until) = scope.circuit_open_until.filter(|until| *until > now) {
        (Reason::CircuitOpen, Some(until), Some(waits.map_or(until, |at| at.max(until))))
    } else if let Some(until) = waits.filter(|_| scope.throttled) {
        (Reason::Throttled, Some(until), Some(until))
    } else if let Some(until) = waits.filter(|_| scope.failures > 0) {
        (Reason::Failing, scope.failing_since, Some(until))
    } else if scope.queued {
        (Reason::Queued, None, Some(waits.unwrap_or(now)))
    } else if scope.failures > 0 {
        (Reason::Failing, scope.failing_since, Some(next))
    } else if facts.synced_at.is_none() {
        (Reason::NeverSynced, None, Some(next))
    } else {
        (Reason::Due, None, Some(next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);
    const ALLOWED: Duration = Duration::from_mins(15);

    fn idle() -> ScopeFacts {
        ScopeFacts {
            out_of_rollout: false,
            has_credentials: true,
            auth: None,
            paused: false,
            capability_missing: false,
            running: false,
            queued: false,
            circuit_open_until: None,
            not_before: None,
            throttled: false,
            failures: 0,
            failing_since: None,
            due: DueTimes::at_once(NOW + Duration::from_mins(1)),
        }
    }

    fn facts(age: time::Duration) -> Facts {
        Facts {
            now: NOW,
            synced_at: Some(NOW - age),
            max_allowed: ALLOWED,
            removals_held: false,
            scope: idle(),
        }
    }

    fn stale(scope: ScopeFacts) -> (Option<Reason>, Option<OffsetDateTime>) {
        let block = freshness(&Facts { scope, ..facts(time::Duration::HOUR) });
        (block.stale_reason, block.next_attempt_at)
    }

    #[test]
    fn current_ends_at_the_allowed_age_and_not_a_nanosecond_later() {
        let limit = time::Duration::seconds(900);
        let nano = time::Duration::nanoseconds(1);
        assert_eq!(freshness(&facts(limit - nano)).freshness, Age::Current);
        assert_eq!(freshness(&facts(limit)).freshness, Age::Stale);
        assert_eq!(freshness(&facts(limit + nano)).freshness, Age::Stale);
        assert_eq!(freshness(&facts(limit)).fresh_until, Some(NOW));
        let never = Facts { max_allowed: Duration::ZERO, ..facts(time::Duration::ZERO) };
        assert_eq!(freshness(&never).freshness, Age::Stale, "nothing is younger than now");
    }

    #[test]
    fn a_time_ahead_of_the_clock_promises_nothing_beyond_now() {
        let block = freshness(&facts(-time::Duration::HOUR));
        assert_eq!(block.synced_at, Some(NOW));
        assert_eq!(block.fresh_until, Some(NOW + ALLOWED));
    }

    #[test]
    fn a_row_in_doubt_has_its_own_age_only() {
        let row = NOW - time::Duration::HOUR;
        let sound = RowFlags::default();
        assert_eq!(effective_synced_at(row, Some(NOW), &sound), NOW);
        assert_eq!(effective_synced_at(NOW, Some(row), &sound), NOW);
        assert_eq!(effective_synced_at(row, None, &sound), row);
        for flags in [
            RowFlags { missing_since: Some(NOW), ..sound },
            RowFlags { stale: true, ..sound },
            RowFlags { needs_validation: true, ..sound },
            RowFlags { held: true, ..sound },
            RowFlags { quarantined: true, ..sound },
        ] {
            assert_eq!(effective_synced_at(row, Some(NOW), &flags), row);
        }
    }

    #[test]
    fn every_obstacle_has_its_reason_and_its_time() {
        let soon = NOW + Duration::from_secs(30);
        let due = NOW + Duration::from_mins(1);
        let base = idle();
        assert_eq!(stale(base), (Some(Reason::Due), Some(due)));
        let scope = ScopeFacts { queued: true, ..base };
        assert_eq!(stale(scope), (Some(Reason::Queued), Some(NOW)));
        let scope = ScopeFacts { failures: 2, not_before: Some(soon), ..scope };
        assert_eq!(stale(scope), (Some(Reason::Failing), Some(soon)));
        let scope = ScopeFacts { throttled: true, ..scope };
        assert_eq!(stale(scope), (Some(Reason::Throttled), Some(soon)));
        let scope = ScopeFacts { circuit_open_until: Some(due), ..scope };
        assert_eq!(stale(scope), (Some(Reason::CircuitOpen), Some(due)));
        let scope = ScopeFacts { running: true, ..scope };
        assert_eq!(stale(scope), (Some(Reason::Running), Some(NOW)));
        let scope = ScopeFacts { capability_missing: true, ..scope };
        assert_eq!(stale(scope), (Some(Reason::CapabilityMissing), Some(due)));
        assert!(!Reason::CapabilityMissing.can_be_helped(), "asking again brings nothing");
        let scope = ScopeFacts { paused: true, ..scope };
        assert_eq!(stale(scope), (Some(Reason::Paused), None));
        let scope = ScopeFacts { auth: Some(Some(soon)), ..scope };
        assert_eq!(stale(scope), (Some(Reason::Auth), Some(soon)));
        let scope = ScopeFacts { has_credentials: false, ..scope };
        assert_eq!(stale(scope), (Some(Reason::NoCredentials), None));
        let scope = ScopeFacts { out_of_rollout: true, ..scope };
        assert_eq!(stale(scope), (Some(Reason::OutOfRollout), None));
        let past = ScopeFacts { throttled: true, not_before: Some(NOW), ..base };
        assert_eq!(stale(past).0, Some(Reason::Due), "a wait that is over is no reason");
    }

    #[test]
    fn what_was_never_read_is_stale_and_says_so() {
        let never = Facts { synced_at: None, ..facts(time::Duration::ZERO) };
        let block = freshness(&never);
        assert_eq!(block.freshness, Age::Stale);
        assert_eq!(block.stale_reason, Some(Reason::NeverSynced));
        assert_eq!(block.fresh_until, None);
        let held = Facts { removals_held: true, ..facts(time::Duration::HOUR) };
        assert_eq!(freshness(&held).stale_reason, Some(Reason::RemovalsHeld));
    }

    proptest! {
        #[test]
        fn current_is_never_a_lie(
            age_ms in -10_000_i64..10_000_000, allowed_ms in 0..5_000_000_u64,
            running: bool, queued: bool, failures in 0..3_u32,
        ) {
            let scope = ScopeFacts { running, queued, failures, ..idle() };
            let facts = Facts {
                max_allowed: Duration::from_millis(allowed_ms),
                scope,
                ..facts(time::Duration::milliseconds(age_ms))
            };
            let block = freshness(&facts);
            let current = age_ms.max(0) < allowed_ms as i64;
            prop_assert_eq!(block.freshness == Age::Current, current);
            prop_assert_eq!(block.stale_reason.is_none(), current);
            prop_assert!(block.next_attempt_at.is_none_or(|at| at >= NOW));
        }
    }
}
