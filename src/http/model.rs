//! The JSON of the API: what leaves through it, and in which words.
//!
//! Kept apart from the domain on purpose: these shapes are a promise to
//! clients, those may change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use vz_sync_actors::domain::event::Progress;
use vz_sync_actors::domain::{Class, Counts, DataType, JobState, Mode, Scope};
use vz_sync_actors::ports::reads::{ChangeRow, HoldRow, JobRow, ScopeStatus};

use super::freshness::FreshnessBlock;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident($($word:ident),+ $(,)?);)*) => {$(
        $(#[$doc])*
        #[derive(Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the words say what they mean")]
        pub enum $name { $($word),+ }
    )*};
}

words! {
    /// What one run synchronises.
    ScopeWord(Environments, ArchivedSites, JobLogs);
    /// One mirrored table.
    DataTypeWord(Environments, Nodes, ArchivedSites, JobLogs);
    /// How much a run asks for.
    ModeWord(Delta, Full);
    /// The life of a job.
    JobStateWord(Queued, Running, Succeeded, Failed, Dead, Cancelled, Superseded, Obsolete);
    /// Why a run is wanted.
    ClassWord(Backfill, Schedule, Retry, Demand, Manual);
    /// The two words of the freshness contract.
    AgeWord(Current, Stale);
    /// Why an answer is stale.
    ReasonWord(
        OutOfRollout, NoCredentials, Auth, Paused, RemovalsHeld, Running, CircuitOpen, Throttled,
        Failing, Queued, NeverSynced, Due,
    );
    /// Where a run is.
    PhaseWord(Lock, Fetch, Confirm, Apply);
}

/// The token's teams.
#[derive(Serialize, ToSchema)]
pub struct TeamList {
    /// Those that exist here.
    pub teams: Vec<TeamItem>,
}

/// One team.
#[derive(Serialize, ToSchema)]
pub struct TeamItem {
    /// The dashboard's own number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The role of the token in it.
    pub role: String,
    /// Live environments by status name.
    pub environments: BTreeMap<&'static str, u64>,
    /// Live environments.
    pub environments_total: u64,
    /// Live nodes.
    pub nodes_total: u64,
    /// By table.
    pub freshness: BTreeMap<&'static str, FreshnessBlock>,
    /// Why the team takes no part at the moment, as a code.
    pub resting: Option<&'static str>,
}

/// A manual trigger. An empty body asks for every scope.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TriggerBody {
    /// Which scope; every one when absent.
    #[schema(value_type = Option<ScopeWord>)]
    pub scope: Option<Scope>,
    /// How much; the run chooses when absent.
    #[schema(value_type = Option<ModeWord>)]
    pub mode: Option<Mode>,
    /// Up to 20 environments, by envName, to be fetched first.
    #[schema(max_items = 20)]
    pub environments: Vec<String>,
}

/// What a trigger led to.
#[derive(Serialize, ToSchema)]
pub struct TriggerAnswer {
    /// One per scope.
    pub jobs: Vec<TriggeredJob>,
}

/// The job that will satisfy the trigger.
#[derive(Serialize, ToSchema)]
pub struct TriggeredJob {
    /// The scope.
    #[schema(value_type = ScopeWord)]
    pub scope: Scope,
    /// The queued job.
    pub job_id: i64,
    /// Queued jobs before it.
    pub position: u64,
    /// Whether it was queued already.
    pub coalesced: bool,
}

/// Every scope of a team.
#[derive(Serialize, ToSchema)]
pub struct SyncStatus {
    /// The team.
    pub team_id: i64,
    /// Database time of this answer.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
    /// Its scopes.
    pub scopes: Vec<ScopeItem>,
}

/// One scope as it stands.
#[derive(Serialize, ToSchema)]
pub struct ScopeItem {
    /// Which.
    #[schema(value_type = ScopeWord)]
    pub scope: Scope,
    /// `idle`, `queued`, `running`, `retrying`, `throttled`, `error`, `paused` or `disabled`.
    pub status: String,
    /// Why it does not go on, as a code.
    pub pending_reason: Option<String>,
    /// The same in words.
    pub pending_message: Option<String>,
    /// By table.
    pub freshness: BTreeMap<&'static str, FreshnessBlock>,
    /// The last success.
    pub last_run: LastRun,
    /// The next run.
    pub next_run: NextRun,
    /// The job that waits.
    pub queued: Option<JobItem>,
    /// The job that runs.
    pub running: Option<JobItem>,
    /// How far it is.
    pub progress: Option<ProgressItem>,
    /// Failures in a row.
    pub failures: u32,
    /// When they began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// The last error as class and code.
    pub last_error: Option<String>,
}

/// When a scope last succeeded.
#[derive(Serialize, ToSchema)]
pub struct LastRun {
    /// At all.
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// With a complete listing.
    #[serde(with = "time::serde::rfc3339::option")]
    pub full_at: Option<OffsetDateTime>,
    /// How the last one was made.
    #[schema(value_type = Option<ModeWord>)]
    pub mode: Option<Mode>,
}

/// When a scope is due.
#[derive(Serialize, ToSchema)]
pub struct NextRun {
    /// The next full by itself.
    #[serde(with = "time::serde::rfc3339")]
    pub full_at: OffsetDateTime,
    /// The next delta by itself.
    #[serde(with = "time::serde::rfc3339")]
    pub delta_at: OffsetDateTime,
    /// Not before then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// A request stands since then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub requested_at: Option<OffsetDateTime>,
}

/// How far a run is.
#[derive(Serialize, ToSchema)]
pub struct ProgressItem {
    /// Where it is.
    #[schema(value_type = PhaseWord)]
    pub phase: vz_sync_actors::domain::event::Phase,
    /// Elements done in this phase.
    pub done: u64,
    /// Elements expected.
    pub total: Option<u64>,
}

impl From<Progress> for ProgressItem {
    fn from(Progress { phase, done, total, .. }: Progress) -> Self {
        Self { phase, done, total }
    }
}

impl ScopeItem {
    /// From the store's facts; progress counts only for the job that runs.
    pub fn new(
        status: ScopeStatus,
        freshness: BTreeMap<&'static str, FreshnessBlock>,
        progress: Option<Progress>,
    ) -> Self {
        let running = status.running.as_ref().map(|job| job.id);
        Self {
            scope: status.key.scope,
            status: status.status,
            pending_reason: status.pending_reason,
            pending_message: status.pending_message,
            freshness,
            last_run: LastRun {
                at: status.last_success_at,
                full_at: status.last_full_at,
                mode: status.last_mode,
            },
            next_run: NextRun {
                full_at: status.due.full,
                delta_at: status.due.delta,
                not_before: status.not_before,
                requested_at: status.requested_at,
            },
            progress: progress.filter(|p| Some(p.job_id) == running).map(Into::into),
            queued: status.queued.map(Into::into),
            running: status.running.map(Into::into),
            failures: status.failures,
            failing_since: status.failing_since,
            last_error: status.last_error,
        }
    }
}

/// A page of jobs, newest first.
#[derive(Serialize, ToSchema)]
pub struct JobList {
    /// The jobs.
    pub items: Vec<JobItem>,
    /// `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// One job.
#[derive(Serialize, ToSchema)]
pub struct JobItem {
    /// The job.
    pub id: i64,
    /// Its scope.
    #[schema(value_type = ScopeWord)]
    pub scope: Scope,
    /// Where it stands.
    #[schema(value_type = JobStateWord)]
    pub state: JobState,
    /// Chosen when it was leased.
    #[schema(value_type = Option<ModeWord>)]
    pub mode: Option<Mode>,
    /// Why it is wanted.
    #[schema(value_type = ClassWord)]
    pub class: Class,
    /// Who asked.
    pub requested_by: Option<String>,
    /// Attempts made.
    pub attempt: u32,
    /// When it was queued first.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its current attempt began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Milliseconds of the last attempt.
    pub duration_ms: Option<i64>,
    /// What it did, in rows.
    #[schema(value_type = Option<CountsItem>)]
    pub counts: Option<Counts>,
    /// Why it failed: class.
    pub error_class: Option<String>,
    /// Why it failed: words.
    pub error: Option<String>,
    /// The job that did its work instead.
    pub satisfied_by_job_id: Option<i64>,
}

/// Rows by what happened to them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "names the fields in the document only")]
pub struct CountsItem {
    listed: u64,
    inserted: u64,
    updated: u64,
    unchanged: u64,
    missing: u64,
    stale: u64,
    returned: u64,
    held: u64,
    quarantined: u64,
    shared: u64,
}

impl From<JobRow> for JobItem {
    fn from(job: JobRow) -> Self {
        let took = job.started_at.zip(job.finished_at).map(|(from, to)| to - from);
        Self {
            id: job.id.0,
            scope: job.scope,
            state: job.state,
            mode: job.mode,
            class: job.class,
            requested_by: job.requested_by,
            attempt: job.attempt,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            duration_ms: took.map(|took| took.whole_milliseconds() as i64),
            counts: job.counts,
            error_class: job.error_class,
            error: job.error,
            satisfied_by_job_id: job.satisfied_by_job_id.map(|id| id.0),
        }
    }
}

/// A page of a table.
#[derive(Serialize, ToSchema)]
pub struct ItemList {
    /// The rows.
    #[schema(value_type = Vec<ItemShape>)]
    pub items: Vec<Box<RawValue>>,
    /// `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
    /// How old the answer is.
    pub freshness: FreshnessBlock,
}

/// One row with its freshness.
#[derive(Serialize, ToSchema)]
pub struct ItemAnswer {
    /// The row.
    #[schema(value_type = ItemShape)]
    pub item: Box<RawValue>,
    /// How old the answer is.
    pub freshness: FreshnessBlock,
}

/// A mirrored row: the fields below and the columns of its table.
#[derive(ToSchema)]
#[expect(dead_code, reason = "names the fields in the document only")]
#[schema(as = Item)]
pub struct ItemShape {
    /// The platform's identifier.
    id: String,
    /// Environments, nodes and archived sites have one.
    status: Option<StatusShape>,
    /// sha256 of the canonical payload, hex.
    source_version: String,
    /// When what is shown was asked for.
    synced_at: String,
    /// First time it was seen.
    first_seen_at: String,
    /// Confirmed gone.
    stale: bool,
    /// Since when.
    stale_since: Option<String>,
    /// Absent from a complete listing since.
    missing_since: Option<String>,
    /// Served with a doubt.
    needs_validation: bool,
    /// The redacted payload, in single answers and with `include=payload`.
    #[schema(value_type = Option<Object>)]
    payload: Option<()>,
    /// With `include=nodes`.
    #[schema(value_type = Option<Vec<Object>>)]
    nodes: Option<()>,
}

/// A platform status.
#[derive(ToSchema)]
#[expect(dead_code, reason = "names the fields in the document only")]
#[schema(as = Status)]
pub struct StatusShape {
    /// The platform's number.
    code: i32,
    /// Its name; UNKNOWN for a number that no source lists.
    name: String,
    /// Whether it passes by itself.
    transient: bool,
}

/// A page of changes, oldest first.
#[derive(Serialize, ToSchema)]
pub struct ChangeList {
    /// The changes.
    pub items: Vec<ChangeItem>,
    /// `after` of the next page; the last id seen, to go on later.
    pub next_after: i64,
    /// Whether more are there now.
    pub more: bool,
}

/// One change.
#[derive(Serialize, ToSchema)]
pub struct ChangeItem {
    /// Cursor.
    pub id: i64,
    /// The table.
    #[schema(value_type = DataTypeWord)]
    pub data_type: DataType,
    /// The row.
    pub item_id: String,
    /// `added`, `changed`, `missing`, `stale` or `returned`.
    pub op: String,
    /// RFC 6902, old to new.
    #[schema(value_type = Option<Vec<Object>>)]
    pub patch: Option<serde_json::Value>,
    /// The job that found it.
    pub job_id: i64,
    /// The event that told of it.
    pub event_id: i64,
    /// When it was found.
    #[serde(with = "time::serde::rfc3339")]
    pub found_at: OffsetDateTime,
}

impl From<ChangeRow> for ChangeItem {
    fn from(row: ChangeRow) -> Self {
        Self {
            id: row.id,
            data_type: row.data_type,
            item_id: row.external_id.to_string(),
            op: row.op,
            patch: row.patch,
            job_id: row.job_id.0,
            event_id: row.event_no.0,
            found_at: row.found_at,
        }
    }
}

/// Removal sets.
#[derive(Serialize, ToSchema)]
pub struct HoldList {
    /// Newest first.
    pub items: Vec<HoldItem>,
}

/// A removal set, as a plan: what would go.
#[derive(Serialize, ToSchema)]
pub struct HoldItem {
    /// The hold.
    pub id: i64,
    /// Its table.
    #[schema(value_type = DataTypeWord)]
    pub data_type: DataType,
    /// `held`, `released`, `rejected` or `expired`.
    pub state: String,
    /// The guard that stopped it.
    pub reason: String,
    /// The rows it covers.
    pub items: Vec<String>,
    /// Live rows it was measured against.
    pub of: u64,
    /// Later complete listings that agree; two release it.
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

impl From<HoldRow> for HoldItem {
    fn from(row: HoldRow) -> Self {
        Self {
            id: row.id.0,
            data_type: row.data_type,
            state: row.state,
            reason: row.reason,
            items: row.items.iter().map(ToString::to_string).collect(),
            of: row.of,
            agreeing_listings: row.agreeing_listings,
            created_at: row.created_at,
            decided_at: row.decided_at,
            decided_by: row.decided_by,
        }
    }
}
