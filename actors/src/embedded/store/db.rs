//! The tables of the in-memory store, named as in the schema.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use secrecy::SecretString;
use time::OffsetDateTime;

use crate::domain::baseline::HoldState;
use crate::domain::item::{Columns, Malformed, RawVersion, SourceVersion};
use crate::domain::removal::{MissingReason, StaleReason};
use crate::domain::{
    Class, Counts, DataType, Event, ExternalId, Failure, Fence, HoldId, JobId, JobState, Mode,
    PlatformId, ReplicaId, RunId, ScopeKey, TeamId,
};
use crate::ports::platforms::Circuit;
use crate::ports::reads::ChangeRow;
use crate::ports::replicas::ReplicaInfo;
use crate::ports::store::{Cursor, DueTimes, Intervals, RequestedJob, Upsert};
use crate::ports::teams::Rollout;

/// What the rows themselves leave to configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDefaults {
    /// Between runs of the environments; the other scopes know fulls only.
    pub intervals: Intervals,
    /// How old an answer may be and still be called current.
    pub environments_max_age: Duration,
    /// The same for the archive.
    pub archived_sites_max_age: Duration,
    /// The same for the action history.
    pub job_logs_max_age: Duration,
}

impl Default for StoreDefaults {
    fn default() -> Self {
        Self {
            intervals: Intervals { full: Duration::from_hours(1), delta: Duration::from_mins(10) },
            environments_max_age: Duration::from_mins(15),
            archived_sites_max_age: Duration::from_hours(2),
            job_logs_max_age: Duration::from_mins(30),
        }
    }
}

impl StoreDefaults {
    /// The age limit of one table.
    pub const fn max_age(&self, data_type: DataType) -> Duration {
        match data_type {
            DataType::Environments | DataType::Nodes => self.environments_max_age,
            DataType::ArchivedSites => self.archived_sites_max_age,
            DataType::JobLogs => self.job_logs_max_age,
        }
    }
}

/// Every table. One mutex around them makes each operation one transaction;
/// an operation therefore checks everything before it changes anything.
#[derive(Default)]
pub(super) struct Tables {
    pub defaults: StoreDefaults,
    /// Off only in the control of the fencing exam.
    pub guard_off: bool,
    pub rollout: Rollout,
    pub platforms: BTreeMap<PlatformId, Platform>,
    pub teams: BTreeMap<TeamId, Team>,
    pub replicas: BTreeMap<ReplicaId, Replica>,
    pub states: BTreeMap<ScopeKey, State>,
    pub jobs: BTreeMap<JobId, Job>,
    /// The two partial unique indexes: one queued and one running job each.
    pub queued: HashMap<ScopeKey, JobId>,
    pub running: HashMap<ScopeKey, JobId>,
    pub verified: BTreeMap<(TeamId, DataType), Verified>,
    pub rows: HashMap<(TeamId, DataType), BTreeMap<ExternalId, Row>>,
    pub archive: HashMap<TeamId, BTreeMap<ExternalId, Archived>>,
    pub holds: BTreeMap<HoldId, Hold>,
    pub quarantine: BTreeMap<(TeamId, DataType, ExternalId), Quarantined>,
    pub changes: HashMap<TeamId, Vec<ChangeRow>>,
    /// Time of the newest change row that retention removed.
    pub changes_cut: HashMap<TeamId, OffsetDateTime>,
    pub outbox: HashMap<TeamId, TeamOutbox>,
    /// Events that no relay has passed on, in the order they are told.
    pub unrelayed: BTreeSet<(OffsetDateTime, TeamId, i64)>,
    pub relay: Option<(ReplicaId, OffsetDateTime)>,
    pub staging: HashMap<RunId, HashMap<(DataType, ExternalId), Upsert>>,
    pub idempotency: HashMap<(TeamId, String), Remembered>,
    pub raw_version_key: Option<SecretString>,
    pub last_job: i64,
    pub last_hold: i64,
}

pub(super) struct Platform {
    pub base_url: String,
    pub circuit: Circuit,
    pub consecutive_failures: u32,
    pub open_until: Option<OffsetDateTime>,
    pub next_token_at: Option<OffsetDateTime>,
}

pub(super) struct Team {
    pub name: String,
    pub platform: PlatformId,
    pub cohorts: Vec<String>,
    pub owner_uid: Option<i64>,
    pub key: Option<Key>,
    pub paused: Option<String>,
    pub auth: Option<AuthFailure>,
    pub trigger_tokens: Option<(f64, OffsetDateTime)>,
    pub last_change: i64,
    pub created_at: OffsetDateTime,
    pub deleted_at: Option<OffsetDateTime>,
}

pub(super) struct Key {
    pub secret: SecretString,
    pub set_at: OffsetDateTime,
}

pub(super) struct AuthFailure {
    pub reason: String,
    pub next_probe_at: OffsetDateTime,
}

pub(super) struct Replica {
    pub info: ReplicaInfo,
    pub started_at: OffsetDateTime,
    pub heartbeat_at: OffsetDateTime,
}

/// Why a state waits; decides what a manual trigger may clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitReason {
    Backoff,
    Partial,
    Collision,
    Platform(&'static str),
}

impl WaitReason {
    /// A person who asks ends every wait but the platform's own.
    pub const fn yields_to_people(self) -> bool {
        !matches!(self, Self::Platform(_))
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Partial => "partial",
            Self::Collision => "collision",
            Self::Platform(reason) => reason,
        }
    }
}

pub(super) struct State {
    pub platform: PlatformId,
    pub due: DueTimes,
    pub wait: Option<(OffsetDateTime, WaitReason)>,
    pub request: Option<Request>,
    pub demand_at: Option<OffsetDateTime>,
    pub dispatched_at: Option<OffsetDateTime>,
    pub lease: Option<LeaseRow>,
    pub fence: Fence,
    pub committed: Option<(Fence, RunId)>,
    /// Since when the scope alone is paused, over failing for long.
    pub paused_at: Option<OffsetDateTime>,
    pub pause_warned_at: Option<OffsetDateTime>,
    pub failures: u32,
    pub failing_since: Option<OffsetDateTime>,
    pub last_error: Option<Failure>,
    pub last_success_at: Option<OffsetDateTime>,
    pub last_full_at: Option<OffsetDateTime>,
    pub last_mode: Option<Mode>,
    pub expected: Option<u64>,
    pub cursor: Option<Cursor>,
    pub intervals: Intervals,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub at: OffsetDateTime,
    pub class: Class,
    pub mode: Option<Mode>,
    pub by: String,
    pub environments: Vec<String>,
    pub trace_parent: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseRow {
    pub owner: ReplicaId,
    pub run: RunId,
    pub job: JobId,
    pub since: OffsetDateTime,
    pub until: OffsetDateTime,
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub key: ScopeKey,
    pub state: JobState,
    pub mode: Option<Mode>,
    pub class: Class,
    pub requested_by: Option<String>,
    pub attempt: u32,
    pub created_at: OffsetDateTime,
    pub published_at: Option<OffsetDateTime>,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
    pub counts: Option<Counts>,
    pub error: Option<Failure>,
    pub satisfied_by: Option<JobId>,
}

#[derive(Default)]
pub(super) struct Verified {
    pub at: Option<OffsetDateTime>,
    pub by: Option<Mode>,
    pub body: Option<RawVersion>,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub payload: Box<str>,
    pub source_version: SourceVersion,
    pub raw_version: Option<RawVersion>,
    pub outline_version: Option<SourceVersion>,
    pub columns: Columns,
    pub fence: Fence,
    pub synced_at: OffsetDateTime,
    pub first_seen_at: OffsetDateTime,
    pub missing: Option<(OffsetDateTime, MissingReason)>,
    pub stale: Option<(OffsetDateTime, StaleReason)>,
    pub needs_validation: bool,
    pub held: bool,
    pub quarantined: bool,
}

#[expect(clippy::struct_field_names, reason = "archived_at is the column's name")]
pub(super) struct Archived {
    pub snapshot: Row,
    pub nodes: Vec<Box<str>>,
    pub archived_at: OffsetDateTime,
    pub reason: StaleReason,
    pub deleted_by: Option<String>,
    pub deleted_at: Option<OffsetDateTime>,
    pub probed: Option<(OffsetDateTime, bool)>,
    pub unarchived_at: Option<OffsetDateTime>,
}

pub(super) struct Hold {
    pub team: TeamId,
    pub data_type: DataType,
    pub state: HoldState,
    pub reason: String,
    pub items: Vec<ExternalId>,
    pub of: u64,
    pub agreeing_listings: u32,
    pub created_at: OffsetDateTime,
    pub counted_at: OffsetDateTime,
    pub decided: Option<(OffsetDateTime, String)>,
}

pub(super) struct Quarantined {
    pub last: Malformed,
    pub seen: u64,
    pub last_seen_at: OffsetDateTime,
}

#[derive(Default)]
pub(super) struct TeamOutbox {
    pub last: i64,
    pub events: BTreeMap<i64, Event>,
}

pub(super) struct Remembered {
    pub body_hash: [u8; 32],
    pub answer: Vec<RequestedJob>,
    pub at: OffsetDateTime,
}
