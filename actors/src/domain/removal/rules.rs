//! The words and thresholds of removals.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{ExternalId, HoldId};
use crate::domain::scope::DataType;

/// The thresholds of the removal guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalRules {
    /// Above this share of the live rows, in percent, a set is held ...
    pub hold_percent: u8,
    /// ... but only when at least this many rows would go.
    pub hold_min: usize,
    /// Most candidates asked for one by one in the run that misses them.
    pub probe_limit: usize,
    /// An empty listing can be confirmed for teams with up to so many rows,
    /// each asked for: small teams can go to zero.
    pub empty_confirm_max: usize,
    /// Least time between two complete listings that count as two.
    pub confirm_gap: Duration,
    /// Later complete listings that release a hold by agreeing with it.
    pub release_after: u32,
    /// How long a rejected hold keeps its rows from being held anew.
    pub rejected_for: Duration,
}

impl Default for RemovalRules {
    fn default() -> Self {
        Self {
            hold_percent: 30,
            hold_min: 5,
            probe_limit: 20,
            empty_confirm_max: 20,
            confirm_gap: Duration::from_mins(10),
            release_after: 2,
            rejected_for: Duration::from_hours(168),
        }
    }
}

impl RemovalRules {
    /// Whether so many rows of so many are too many to go without a decision.
    pub const fn holds(&self, missing: usize, of: usize) -> bool {
        missing >= self.hold_min && missing * 100 > of * self.hold_percent as usize
    }
}

/// What GetEnvInfo said of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeAnswer {
    /// Result 11: there is no such environment for this key.
    Gone,
    /// It is there and ours: the listing was wrong.
    StillOwn,
    /// It is there and somebody else's now.
    Transferred,
    /// No usable answer; proves nothing.
    Unknown,
}

/// Why a row is marked stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleReason {
    /// Confirmed gone by a probe.
    Deleted,
    /// Lives on under another account.
    Transferred,
    /// Missed by two complete listings, far enough apart.
    MissedTwice,
    /// Its hold was released.
    HoldReleased,
    /// Its environment's own answer no longer lists it; nodes only.
    LeftEnvironment,
    /// Its environment is gone; nodes only.
    EnvironmentGone,
    /// The team's account was replaced.
    AccountReplaced,
}

impl StaleReason {
    /// The word used in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Transferred => "transferred",
            Self::MissedTwice => "missed_twice",
            Self::HoldReleased => "hold_released",
            Self::LeftEnvironment => "left_environment",
            Self::EnvironmentGone => "environment_gone",
            Self::AccountReplaced => "account_replaced",
        }
    }
}

/// Why a row is marked missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// Absent from one complete listing.
    AbsentOnce,
    /// Part of a set that the guard stopped.
    Held,
}

impl MissingReason {
    /// The word used in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AbsentOnce => "absent_once",
            Self::Held => "held",
        }
    }
}

/// What becomes of a hold, or that a new one is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HoldChange {
    /// Hold this set.
    Open {
        /// environments or nodes
        data_type: DataType,
        /// The rows (environments that fell to zero nodes, for nodes).
        items: Vec<ExternalId>,
        /// Live rows the set was measured against.
        of: u64,
        /// Which guard stopped it: `empty_listing` or `over_percentage`.
        reason: String,
    },
    /// Another complete listing misses the whole set too.
    Agree {
        /// The hold.
        id: HoldId,
    },
    /// Enough listings agree: its rows are in the stale list of this apply.
    Release {
        /// The hold.
        id: HoldId,
    },
    /// These rows came back and leave the hold.
    Shrink {
        /// The hold.
        id: HoldId,
        /// The rows that returned.
        returned: Vec<ExternalId>,
    },
    /// All rows came back.
    Expire {
        /// The hold.
        id: HoldId,
    },
}
