//! What every kind of run asks of the policies: when its state is due next,
//! and what a partial listing means.

use time::OffsetDateTime;
use tokio::time::Instant;

use super::run::Run;
use crate::domain::item::Element;
use crate::domain::{Completeness, ExternalId, Failure, FailureClass, Mode, PartialReason};
use crate::domain::{cadence, retry};
use crate::ports::store::{Cursor, Doubt, DueTimes, Lease};

impl Run {
    /// Whether no full was ever committed: what is found is no change then,
    /// in however many parts it comes.
    pub(super) const fn first_load(&self) -> bool {
        self.lease.last_full_at.is_none()
    }

    /// Database time now, as far as a run can tell without asking.
    pub(super) fn database_now(&self) -> OffsetDateTime {
        self.lease.database_now + self.lease.asked_at.elapsed()
    }

    /// Database time of a moment in this run.
    pub(super) fn database_time(&self, at: Instant) -> OffsetDateTime {
        self.database_now() - at.elapsed()
    }
}

/// When the state is due after a run of this mode succeeded.
pub(super) fn next_due(run: &Run, mode: Mode) -> DueTimes {
    let lease = &run.lease;
    let random = run.parts.ports.entropy.fraction();
    let (key, now) = (lease.name.key, run.database_now());
    cadence::after_success(key, &lease.intervals, &lease.due, mode, now, random)
}

/// When the state is due after a commit. One with a doubt has not served its
/// time: the state comes again, in the same mode, once the doubt's wait is over.
pub(super) fn due(run: &Run, mode: Mode, doubt: Option<&Doubt>) -> DueTimes {
    if doubt.is_some() { run.lease.due } else { next_due(run, mode) }
}

/// Where the next delta goes on reading the history, if everything up to
/// `sent_at` is known. Actions are stamped by the platform's clock: without a
/// word on that, nobody can say where to go on.
pub(super) fn cursor(run: &Run, platform_time: Option<OffsetDateTime>, sent_at: Instant) -> Cursor {
    let ahead = ahead(run, platform_time, sent_at).unwrap_or_default();
    let ahead_ms = i64::try_from(ahead.whole_milliseconds()).unwrap_or_default();
    Cursor { history_until: platform_time, ahead_ms }
}

/// How far the platform's clock is ahead of the database's.
pub(super) fn ahead(
    run: &Run,
    platform_time: Option<OffsetDateTime>,
    sent_at: Instant,
) -> Option<time::Duration> {
    Some(platform_time? - run.database_time(sent_at))
}

/// A partial listing is written and tried again: soon when it was cut short,
/// at the delta's pace when the answer itself is doubtful. What the key may
/// not read does not come by trying.
pub(super) fn doubt(run: &Run, completeness: &Completeness) -> Option<Doubt> {
    let Completeness::Partial(reason) = completeness else { return None };
    if *reason == PartialReason::CapabilityMissing {
        return None;
    }
    let passing = matches!(
        reason,
        PartialReason::Truncated | PartialReason::PageMissing | PartialReason::LimitReached
    );
    let wait = if passing {
        let random = run.parts.ports.entropy.fraction();
        run.parts.settings.retry.backoff.delay(run.lease.failures + 1, random)
    } else {
        run.lease.intervals.delta
    };
    let class = if passing { FailureClass::Retryable } else { FailureClass::Invalid };
    let message = format!("the listing is only partial: {reason}");
    // A listing that is never whole is a failure that lasts.
    let Lease { failures, failing_since, .. } = run.lease;
    let rules = &run.parts.settings.retry;
    let now = run.database_now();
    let sustained = retry::sustained(rules, failures.saturating_add(1), failing_since, now);
    Some(Doubt { failure: Failure::new(class, reason.code(), message), wait, sustained })
}

/// The id of an element that is the owner's own.
pub(super) fn own_id(element: &Element) -> Option<&ExternalId> {
    match element {
        Element::Same(id) => Some(id),
        Element::Environment(found) => Some(&found.environment.id),
        Element::Shared { .. } | Element::Malformed(_) => None,
    }
}
