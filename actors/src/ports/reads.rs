//! The queries behind the public API (SPEC section 8). Every one names its
//! team; none may be answered from another team's rows.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::PortResult;
use super::store::{DueTimes, Resting};
use crate::domain::{
    Class, Counts, DataType, EventNo, ExternalId, Fence, HoldId, JobId, JobState, Mode, Refused,
    ReplicaId, RunId, Scope, ScopeKey, TeamId,
};

/// Reads the mirror and the pipeline's state.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// These teams with counts, those that exist.
    async fn teams(&self, teams: &[TeamId]) -> PortResult<Vec<TeamSummary>>;

    /// Every scope of a team; `None` when there is no such team.
    async fn scopes(&self, team: TeamId) -> PortResult<Option<Vec<ScopeStatus>>>;

    /// What the freshness of these tables is judged by.
    async fn freshness(
        &self,
        team: TeamId,
        data_types: &[DataType],
    ) -> PortResult<Vec<FreshnessFacts>>;

    /// One page of a table.
    async fn items(&self, query: &ItemQuery) -> PortResult<Page<ItemRow>>;

    /// One row; stale rows too.
    async fn item(
        &self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
    ) -> PortResult<Option<ItemRow>>;

    /// The nodes of these environments, for `include=nodes`.
    async fn nodes_of(
        &self,
        team: TeamId,
        environments: &[ExternalId],
        include_stale: bool,
    ) -> PortResult<HashMap<ExternalId, Vec<ItemRow>>>;

    /// The history of jobs, newest first.
    async fn jobs(
        &self,
        team: TeamId,
        scope: Option<Scope>,
        before: Option<JobId>,
        limit: u32,
    ) -> PortResult<Vec<JobRow>>;

    /// One job.
    async fn job(&self, team: TeamId, job: JobId) -> PortResult<Option<JobRow>>;

    /// Change rows after a cursor, oldest first.
    async fn changes(&self, query: &ChangeQuery) -> PortResult<Vec<ChangeRow>>;

    /// The undo patches of one row that are younger than `at`, newest first;
    /// `None` when the retention has cut them.
    async fn undo_since(
        &self,
        team: TeamId,
        data_type: DataType,
        id: &ExternalId,
        at: OffsetDateTime,
    ) -> PortResult<Option<Vec<ChangeRow>>>;

    /// Held removal sets; with `all`, decided ones too.
    async fn holds(&self, team: TeamId, all: bool) -> PortResult<Vec<HoldRow>>;

    /// What stands between every state and its freshness, for metrics: at most
    /// `limit`, the stalest first.
    async fn staleness(&self, limit: u32) -> PortResult<Vec<Staleness>>;
}

/// Counts of one team.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TeamSummary {
    /// The team.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// Live environments by platform status number.
    pub environments_by_status: HashMap<i32, u64>,
    /// Live nodes.
    pub nodes: u64,
    /// What freshness is judged by.
    pub freshness: Vec<FreshnessFacts>,
    /// Why it rests, if it does.
    pub resting: Option<Resting>,
}

/// One (team, scope) as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScopeStatus {
    /// Which.
    pub key: ScopeKey,
    /// `idle`, `queued`, `running`, `retrying`, `throttled`, `error`, `paused`,
    /// `disabled`; derived from the facts below by the adapter's one function.
    pub status: String,
    /// Why it does not go on, as a code, if it does not.
    pub pending_reason: Option<String>,
    /// The same in words.
    pub pending_message: Option<String>,
    /// When it is due by itself.
    pub due: DueTimes,
    /// It waits until then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// A request stands since then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub requested_at: Option<OffsetDateTime>,
    /// It was handed to the queue then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub dispatched_at: Option<OffsetDateTime>,
    /// The queued job.
    pub queued: Option<JobRow>,
    /// The running job.
    pub running: Option<JobRow>,
    /// The lease, while it lives.
    pub lease: Option<LeaseView>,
    /// Its fence.
    pub fence: Fence,
    /// Failures in a row.
    pub failures: u32,
    /// When they began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// Since when it is near to being paused over failing for long.
    #[serde(with = "time::serde::rfc3339::option")]
    pub pause_warned_at: Option<OffsetDateTime>,
    /// The last error as class and code.
    pub last_error: Option<String>,
    /// The last success.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success_at: Option<OffsetDateTime>,
    /// The last successful full.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_full_at: Option<OffsetDateTime>,
    /// How the last success was made.
    pub last_mode: Option<Mode>,
    /// Why it rests, if it does.
    pub resting: Option<Resting>,
    /// Methods that the key was refused: the scope does without them.
    pub refused: Refused,
    /// Whether its platform's circuit is open, and until when.
    #[serde(with = "time::serde::rfc3339::option")]
    pub circuit_open_until: Option<OffsetDateTime>,
    /// Database time of this answer.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
}

/// A live lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LeaseView {
    /// The replica that holds it.
    pub owner: ReplicaId,
    /// The run.
    pub run: RunId,
    /// Until when, unless renewed.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

/// The facts that freshness is computed from; see `domain::freshness`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FreshnessFacts {
    /// The table.
    pub data_type: DataType,
    /// When the last complete answer was asked for; `None` before the first.
    #[serde(with = "time::serde::rfc3339::option")]
    pub verified_at: Option<OffsetDateTime>,
    /// How.
    pub verified_by: Option<Mode>,
    /// How old an answer may be and still be called current.
    pub max_allowed_staleness: Duration,
    /// Database time of this answer.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
    /// The scope that keeps the table.
    pub scope: ScopeStatus,
    /// Removal sets of the table that wait for a decision.
    pub holds: u32,
}

/// A question for one page of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemQuery {
    /// Whose rows.
    pub team: TeamId,
    /// Which table.
    pub data_type: DataType,
    /// All must match. Fields are checked against [`filter_fields`].
    pub filters: Vec<(String, String)>,
    /// Text search over names and domains, case-insensitive.
    pub text: Option<String>,
    /// Sort field, checked against [`sort_fields`]; the id breaks ties.
    pub sort: String,
    /// Descending.
    pub descending: bool,
    /// The page after this one.
    pub after: Option<Cursor>,
    /// Rows of a page, 1 to 500.
    pub limit: u32,
    /// Rows that are confirmed gone, too.
    pub include_stale: bool,
}

/// Fields that a table can be filtered by (equality).
pub const fn filter_fields(data_type: DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Environments => &["env_name", "status", "region", "owner_uid", "group"],
        DataType::Nodes => &["environment_id", "env_name", "status", "node_group", "node_type"],
        DataType::ArchivedSites => &["env_name", "reason", "region"],
        DataType::JobLogs => &["environment_id", "env_name", "action", "result"],
    }
}

/// Fields that a table can be sorted by; the first is the default.
pub const fn sort_fields(data_type: DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Environments => &["env_name", "created_on", "status", "synced_at"],
        DataType::Nodes => &["id", "env_name", "node_group", "status"],
        DataType::ArchivedSites => &["archived_at", "env_name"],
        DataType::JobLogs => &["started_at", "id"],
    }
}

/// Where a page ended: the sort key as text and the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last row's sort key; `None` for SQL null.
    pub key: Option<String>,
    /// The last row's id.
    pub id: String,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page starts, when there is one.
    pub next: Option<Cursor>,
}

/// One mirrored row as readers get it.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemRow {
    /// The platform's identifier.
    pub id: ExternalId,
    /// Typed columns as a JSON object text, names as in SQL.
    pub columns: Box<str>,
    /// The redacted payload as JSON text.
    pub payload: Box<str>,
    /// sha256 of the canonical payload, hex.
    pub source_version: String,
    /// The later of the row's own and the table's `verified_at`, unless the
    /// row is doubtful.
    pub synced_at: OffsetDateTime,
    /// First time it was seen.
    pub first_seen_at: OffsetDateTime,
    /// Confirmed gone.
    pub stale: bool,
    /// Since when.
    pub stale_since: Option<OffsetDateTime>,
    /// Absent from a complete listing since.
    pub missing_since: Option<OffsetDateTime>,
    /// Served with a doubt.
    pub needs_validation: bool,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// Its scope.
    pub scope: Scope,
    /// Where it stands.
    pub state: JobState,
    /// Chosen when leased.
    pub mode: Option<Mode>,
    /// Why it is wanted.
    pub class: Class,
    /// Who asked.
    pub requested_by: Option<String>,
    /// Attempts made.
    pub attempt: u32,
    /// When it was queued first.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its current attempt was leased.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// What it did.
    pub counts: Option<Counts>,
    /// Why it failed: class.
    pub error_class: Option<String>,
    /// Why it failed: words.
    pub error: Option<String>,
    /// The job that did its work instead.
    pub satisfied_by_job_id: Option<JobId>,
}

/// A question for change rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeQuery {
    /// Whose.
    pub team: TeamId,
    /// After this row.
    pub after: i64,
    /// Only this table.
    pub data_type: Option<DataType>,
    /// Only this row.
    pub id: Option<ExternalId>,
    /// Rows of a page.
    pub limit: u32,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeRow {
    /// Cursor.
    pub id: i64,
    /// The table.
    pub data_type: DataType,
    /// The row.
    pub external_id: ExternalId,
    /// `added`, `changed`, `missing`, `stale`, `returned`.
    pub op: String,
    /// RFC 6902, old to new.
    pub patch: Option<serde_json::Value>,
    /// RFC 6902, new to old.
    pub undo: Option<serde_json::Value>,
    /// The job that found it.
    pub job_id: JobId,
    /// The event it belongs to.
    pub event_no: EventNo,
    /// When it was found.
    #[serde(with = "time::serde::rfc3339")]
    pub found_at: OffsetDateTime,
}

/// A removal set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoldRow {
    /// The hold.
    pub id: HoldId,
    /// Its table.
    pub data_type: DataType,
    /// `held`, `released`, `rejected`, `expired`.
    pub state: String,
    /// The guard that stopped it.
    pub reason: String,
    /// The rows it covers.
    pub items: Vec<ExternalId>,
    /// Live rows it was measured against.
    pub of: u64,
    /// Later complete listings that agree.
    pub agreeing_listings: u32,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was decided.
    #[serde(with = "time::serde::rfc3339::option")]
    pub decided_at: Option<OffsetDateTime>,
    /// By whom.
    pub decided_by: Option<String>,
}

/// How far behind one table of one team is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staleness {
    /// The team.
    pub team: TeamId,
    /// The table.
    pub data_type: DataType,
    /// Age of the last complete answer; `None` before the first.
    pub age: Option<Duration>,
    /// What is allowed.
    pub max_allowed: Duration,
}
