//! Jobs: one requested run each, with its class and its end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::scope::{UnknownWord, words};

/// The life of a row of `vz_sync_jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits to be leased; at most one per (team, scope).
    Queued,
    /// Leased; at most one per (team, scope).
    Running,
    /// Committed.
    Succeeded,
    /// Gave up; one `sync.failed` tells why.
    Failed,
    /// Gave up over a fault of ours; can be replayed.
    Dead,
    /// Stopped by an operator.
    Cancelled,
    /// Another run took its place.
    Superseded,
    /// Nothing was left to do, or nobody to do it for.
    Obsolete,
}

words!(JobState, "queued, running, succeeded, failed, dead, cancelled, superseded, obsolete",
    Queued => "queued",
    Running => "running",
    Succeeded => "succeeded",
    Failed => "failed",
    Dead => "dead",
    Cancelled => "cancelled",
    Superseded => "superseded",
    Obsolete => "obsolete",
);

impl JobState {
    /// Whether the job has ended.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Why a run is wanted, which decides how soon it goes. Declared from least
/// to most urgent, so that the greater of two classes is the one to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A first load that nobody waits for.
    Backfill,
    /// An interval has passed.
    Schedule,
    /// An earlier attempt failed.
    Retry,
    /// Somebody read a stale answer.
    Demand,
    /// Somebody pressed refresh.
    Manual,
}

words!(Class, "backfill, schedule, retry, demand, manual",
    Backfill => "backfill",
    Schedule => "schedule",
    Retry => "retry",
    Demand => "demand",
    Manual => "manual",
);

/// The broker queue of a class. Declared from most to least urgent: the order
/// in which queues are served where weights are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// `jobs.vz.sync.high`: manual and demand.
    High,
    /// `jobs.vz.sync.normal`: retry and schedule.
    Normal,
    /// `jobs.vz.sync.low`: backfill.
    Low,
}

words!(Lane, "high, normal, low",
    High => "high",
    Normal => "normal",
    Low => "low",
);

impl Class {
    /// The AMQP `priority` property.
    pub const fn amqp_priority(self) -> u8 {
        match self {
            Self::Manual => 9,
            Self::Demand => 6,
            Self::Retry => 4,
            Self::Schedule => 3,
            Self::Backfill => 1,
        }
    }

    /// Place in the due queue's score: 0 goes first.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Manual => 0,
            Self::Demand => 1,
            Self::Retry => 2,
            Self::Schedule => 3,
            Self::Backfill => 4,
        }
    }

    /// The class with this rank, if there is one.
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.rank() == rank)
    }

    /// The queue that carries this class.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Manual | Self::Demand => Lane::High,
            Self::Retry | Self::Schedule => Lane::Normal,
            Self::Backfill => Lane::Low,
        }
    }
}

impl Lane {
    /// The class ranks that this lane carries, first and last inclusive.
    pub const fn ranks(self) -> (u8, u8) {
        match self {
            Self::High => (0, 1),
            Self::Normal => (2, 3),
            Self::Low => (4, 4),
        }
    }
}

/// What a run found and did, as rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Elements the platform listed, shared and malformed ones included.
    pub listed: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that differed, or were flagged and are confirmed again.
    pub updated: u64,
    /// Rows that were equal and therefore not written.
    pub unchanged: u64,
    /// Rows newly marked missing.
    pub missing: u64,
    /// Rows confirmed gone.
    pub stale: u64,
    /// Rows that came back from missing or stale.
    pub returned: u64,
    /// Rows whose removal is held for a decision.
    pub held: u64,
    /// Elements that failed their schema.
    pub quarantined: u64,
    /// Elements of other owners, skipped.
    pub shared: u64,
}

impl Counts {
    /// Rows that the run wrote.
    pub const fn changed(&self) -> u64 {
        self.inserted + self.updated + self.missing + self.stale
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.listed += other.listed;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.missing += other.missing;
        self.stale += other.stale;
        self.returned += other.returned;
        self.held += other.held;
        self.quarantined += other.quarantined;
        self.shared += other.shared;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_partition_the_ranks() {
        for class in Class::ALL {
            let (first, last) = class.lane().ranks();
            assert!((first..=last).contains(&class.rank()), "{class}");
            assert_eq!(Class::from_rank(class.rank()), Some(class));
        }
        assert_eq!(Class::from_rank(5), None);
    }

    #[test]
    fn the_more_urgent_class_is_the_greater() {
        assert_eq!(Class::Schedule.max(Class::Manual), Class::Manual);
        assert!(Class::Demand > Class::Retry);
    }
}
