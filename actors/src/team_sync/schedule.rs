//! What every kind of run asks of the policies: when its state is due next,
//! and what a partial listing means.

use time::OffsetDateTime;
use tokio::time::Instant;

use super::run::Run;
use crate::domain::cadence;
use crate::domain::item::Element;
use crate::domain::{Completeness, ExternalId, Failure, FailureClass, Mode, PartialReason};
use crate::ports::store::{Doubt, DueTimes};

impl Run {
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
    let jitter = run.parts.settings.jitter;
    cadence::after_success(key, &lease.intervals, jitter, &lease.due, mode, now, random)
}

/// A partial listing is written and tried again: soon when it was cut short,
/// at the delta's pace when the answer itself is doubtful. One that was not
/// meant to be complete is not doubted.
pub(super) fn doubt(run: &Run, completeness: &Completeness) -> Option<Doubt> {
    let Completeness::Partial(reason) = completeness else { return None };
    if *reason == PartialReason::NotListed {
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
    Some(Doubt { failure: Failure::new(class, reason.code(), message), wait })
}

/// The id of an element that is the owner's own.
pub(super) fn own_id(element: &Element) -> Option<&ExternalId> {
    match element {
        Element::Same(id) => Some(id),
        Element::Environment(found) => Some(&found.environment.id),
        Element::Shared { .. } | Element::Malformed(_) => None,
    }
}
