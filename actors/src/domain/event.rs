//! What subscribers are told.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::ids::{EventNo, ExternalId, HoldId, JobId, TeamId};
use super::job::{Counts, JobState};
use super::scope::{DataType, Mode, Scope};

/// Most changed ids that one `sync.completed` names.
pub const MAX_CHANGED_IDS: usize = 100;

/// An event of one team. Durable ones carry a number, passing ones do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Whose event it is.
    pub team_id: TeamId,
    /// Place in the team's sequence; `None` for started and progress.
    pub no: Option<EventNo>,
    /// Database time of the commit, or of the telling.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum EventBody {
    /// A run committed.
    #[serde(rename = "sync.completed")]
    Completed(Completed),
    /// A job ended without a commit.
    #[serde(rename = "sync.failed")]
    Failed(Failed),
    /// A removal set waits for a decision.
    #[serde(rename = "removals.held")]
    RemovalsHeld(RemovalsHeld),
    /// A run began. Passing.
    #[serde(rename = "sync.started")]
    Started(Started),
    /// A run goes on, told at most once a second. Passing.
    #[serde(rename = "sync.progress")]
    Progress(Progress),
}

impl EventBody {
    /// The event's name on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Completed(_) => "sync.completed",
            Self::Failed(_) => "sync.failed",
            Self::RemovalsHeld(_) => "removals.held",
            Self::Started(_) => "sync.started",
            Self::Progress(_) => "sync.progress",
        }
    }
}

/// `sync.completed`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    /// The job that ended.
    pub job_id: JobId,
    /// What was synchronised.
    pub scope: Scope,
    /// How.
    pub mode: Mode,
    /// When the listing's request was sent, in database time; `None` when the
    /// listing was partial and verified nothing.
    #[serde(with = "time::serde::rfc3339::option")]
    pub verified_at: Option<OffsetDateTime>,
    /// Why it verified nothing, when it did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partial: Option<String>,
    /// What changed, in rows.
    pub counts: Counts,
    /// Which rows changed, up to [`MAX_CHANGED_IDS`].
    pub changed: Vec<ChangedId>,
    /// Whether more changed than `changed` names.
    pub truncated: bool,
}

/// One changed row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedId {
    /// The table.
    pub data_type: DataType,
    /// The row.
    pub id: ExternalId,
}

/// `sync.failed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The job that ended; `None` for a transition found outside a job.
    pub job_id: Option<JobId>,
    /// What should have been synchronised.
    pub scope: Scope,
    /// How the job ended.
    pub state: JobState,
    /// A stable code.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// `removals.held`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalsHeld {
    /// The hold to decide.
    pub hold_id: HoldId,
    /// The run that found them missing.
    pub job_id: JobId,
    /// The table.
    pub data_type: DataType,
    /// How many rows would go.
    pub count: u64,
    /// How many rows there are.
    pub of: u64,
    /// Which guard stopped it.
    pub reason: String,
}

/// `sync.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The job.
    pub job_id: JobId,
    /// What is synchronised.
    pub scope: Scope,
    /// How.
    pub mode: Mode,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// `sync.progress`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job_id: JobId,
    /// What is synchronised.
    pub scope: Scope,
    /// Where the run is.
    pub phase: Phase,
    /// Elements done in this phase.
    pub done: u64,
    /// Elements expected, judged by the last complete listing.
    pub total: Option<u64>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Takes lock and lease.
    Lock,
    /// Reads the platform.
    Fetch,
    /// Asks again for what seems gone.
    Confirm,
    /// Writes.
    Apply,
}
