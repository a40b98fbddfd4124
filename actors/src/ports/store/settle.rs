//! Ends of a run without a commit of data.

use std::time::Duration;

use super::lease::LeaseRef;
use crate::domain::retry::Sustained;
use crate::domain::{EventNo, Failure, JobState};

/// Ends or postpones a run without data.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The guard.
    pub lease: LeaseRef,
    /// What becomes of the job and the state.
    pub ending: Ending,
    /// Whether the scope has failed for so long that a pause is announced or
    /// begins with this ending. Counts for a retry and for giving up alone: the
    /// other ends blame nobody, or rest the team as a whole.
    pub sustained: Sustained,
}

/// How a run without a commit goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The job is queued again; the state waits. Counts as a failure of the
    /// team.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// How long the state waits.
        wait: Duration,
    },
    /// The job is queued again with the attempt given back; not a failure.
    Postponed {
        /// A stable code: `rate_limit`, `throttled`, `circuit_open`.
        reason: &'static str,
        /// How long the state waits.
        wait: Duration,
    },
    /// The job ends as failed or dead with one event; the state stays
    /// scheduled and waits.
    GaveUp {
        /// What went wrong.
        failure: Failure,
        /// failed, or dead for faults of ours.
        state: JobState,
        /// How long the state waits.
        wait: Duration,
    },
    /// The key is refused: the job fails; the whole team rests, and one event
    /// tells of the transition.
    AuthRefused {
        /// What the platform said.
        failure: Failure,
        /// Time to the next probe of the key.
        probe_in: Duration,
    },
    /// An operator stopped it: one event.
    Cancelled {
        /// Who.
        by: String,
    },
    /// This replica is stopping: the job is queued again at once with the
    /// attempt given back.
    HandedBack,
}

/// The answer to [`Store::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done.
    Done {
        /// The number of the event, if the end owed one.
        event: Option<EventNo>,
    },
    /// The lease is another run's, or over: nothing was written.
    Overtaken,
}
