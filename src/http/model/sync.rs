//! Teams, triggers, scopes and jobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use vz_sync_actors::domain::event::Progress;
use vz_sync_actors::domain::{Capability, Class, Counts, JobState, Mode, Refused, Scope};
use vz_sync_actors::ports::reads::{JobRow, ScopeStatus};

use super::words::{ClassWord, JobStateWord, ModeWord, PhaseWord, ScopeWord};
use crate::http::freshness::FreshnessBlock;

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
    /// Since when it is near to being paused over failing for days; null while it is not.
    #[serde(with = "time::serde::rfc3339::option")]
    pub pause_warned_at: Option<OffsetDateTime>,
    /// The last error as class and code.
    pub last_error: Option<String>,
    /// Methods of the platform that the key is refused; runs do without them.
    pub capabilities_missing: Vec<MissingCapability>,
}

/// A method of the platform that the key is refused.
#[derive(Serialize, ToSchema)]
pub struct MissingCapability {
    /// Its name in the platform's paths, e.g. `searchactions`.
    pub method: &'static str,
    /// When it was last refused.
    #[serde(with = "time::serde::rfc3339")]
    pub refused_at: OffsetDateTime,
}

impl MissingCapability {
    /// All that a scope does without.
    pub fn of(refused: &Refused) -> Vec<Self> {
        let missing = |(capability, refused_at): (Capability, OffsetDateTime)| Self {
            method: capability.as_str(),
            refused_at,
        };
        refused.iter().map(missing).collect()
    }
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
            pause_warned_at: status.pause_warned_at,
            last_error: status.last_error,
            capabilities_missing: MissingCapability::of(&status.refused),
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
