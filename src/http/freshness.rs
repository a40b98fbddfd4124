//! The freshness block of an answer, in its body and in its headers.
//!
//! The judgement is the domain's; this file only gathers the facts and writes
//! the answer down.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use vz_sync_actors::domain::freshness::{Age, Facts, Freshness, Reason, ScopeFacts, freshness};
use vz_sync_actors::domain::{Capability, DataType, Mode, Scope};
use vz_sync_actors::ports::reads::{FreshnessFacts, ScopeStatus};
use vz_sync_actors::ports::store::Resting;

use super::model::{AgeWord, ModeWord, ReasonWord};

/// How old an answer is, and why it is no younger.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FreshnessBlock {
    /// `current` or `stale`.
    #[schema(value_type = AgeWord)]
    pub freshness: Age,
    /// When the listing's request was sent, by the database's clock; null before the first.
    #[serde(with = "time::serde::rfc3339::option")]
    pub synced_at: Option<OffsetDateTime>,
    /// How old it may be and still be called current.
    pub max_allowed_staleness_seconds: u64,
    /// It stops being current at this moment.
    #[serde(with = "time::serde::rfc3339::option")]
    pub fresh_until: Option<OffsetDateTime>,
    /// Whether the last verification was a full listing or a delta.
    #[schema(value_type = Option<ModeWord>)]
    pub verified_by: Option<Mode>,
    /// Why it is stale; null when it is not.
    #[schema(value_type = Option<ReasonWord>)]
    pub stale_reason: Option<Reason>,
    /// Throttled or circuit open until then; failing since then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub stale_reason_at: Option<OffsetDateTime>,
    /// When the next try is expected, if it is stale and one is.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
}

/// Judges a table.
pub fn judge(facts: &FreshnessFacts) -> FreshnessBlock {
    judge_at(facts, facts.verified_at)
}

/// Judges one row of a table, whose own time may be older than the table's.
pub fn judge_at(facts: &FreshnessFacts, synced_at: Option<OffsetDateTime>) -> FreshnessBlock {
    let Freshness {
        freshness,
        synced_at,
        max_allowed_staleness_seconds,
        fresh_until,
        stale_reason,
        stale_reason_at,
        next_attempt_at,
    } = freshness(&Facts {
        now: facts.now,
        synced_at,
        max_allowed: facts.max_allowed_staleness,
        removals_held: facts.holds > 0,
        scope: scope_facts(&facts.scope),
    });
    FreshnessBlock {
        freshness,
        synced_at,
        max_allowed_staleness_seconds,
        fresh_until,
        verified_by: facts.verified_by,
        stale_reason,
        stale_reason_at,
        next_attempt_at,
    }
}

fn scope_facts(scope: &ScopeStatus) -> ScopeFacts {
    let resting = scope.resting.as_ref();
    ScopeFacts {
        out_of_rollout: matches!(resting, Some(Resting::OutOfRollout)),
        has_credentials: !matches!(resting, Some(Resting::NoCredentials)),
        auth: matches!(resting, Some(Resting::Auth(_))).then_some(scope.not_before),
        paused: matches!(resting, Some(Resting::Paused(_))),
        // The other scopes have something to fall back on.
        capability_missing: scope.key.scope == Scope::JobLogs
            && scope.refused.at(Capability::SearchActions).is_some(),
        running: scope.lease.is_some() || scope.running.is_some(),
        queued: scope.queued.is_some(),
        circuit_open_until: scope.circuit_open_until,
        not_before: scope.not_before,
        throttled: scope.status == "throttled",
        failures: scope.failures,
        failing_since: scope.failing_since,
        due: scope.due,
    }
}

/// The staler of two blocks, for answers that mix two tables.
pub fn staler(a: FreshnessBlock, b: FreshnessBlock) -> FreshnessBlock {
    let rank = |block: &FreshnessBlock| (block.freshness == Age::Current, block.fresh_until);
    if rank(&b) < rank(&a) { b } else { a }
}

impl FreshnessBlock {
    /// Whether the answer is stale.
    pub fn is_stale(&self) -> bool {
        self.freshness == Age::Stale
    }

    /// `VZ-Freshness` and its companions; sent on 304 too.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        let word = if self.is_stale() { "stale" } else { "current" };
        headers.insert(VZ_FRESHNESS, HeaderValue::from_static(word));
        for (name, at) in [(VZ_SYNCED_AT, self.synced_at), (VZ_FRESH_UNTIL, self.fresh_until)] {
            let value = at
                .and_then(|at| at.format(&Rfc3339).ok())
                .and_then(|text| HeaderValue::from_str(&text).ok());
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        if let Some(reason) = self.stale_reason {
            headers.insert(VZ_STALE_REASON, HeaderValue::from_static(reason.as_str()));
        }
    }
}

/// `current` or `stale`.
pub const VZ_FRESHNESS: HeaderName = HeaderName::from_static("vz-freshness");
/// When the answer's listing was asked for.
pub const VZ_SYNCED_AT: HeaderName = HeaderName::from_static("vz-synced-at");
/// When it stops being current.
pub const VZ_FRESH_UNTIL: HeaderName = HeaderName::from_static("vz-fresh-until");
/// Why it is stale.
pub const VZ_STALE_REASON: HeaderName = HeaderName::from_static("vz-stale-reason");

/// The tables that an answer rests on.
pub fn tables(data_type: DataType, with_nodes: bool) -> &'static [DataType] {
    match data_type {
        DataType::Environments if with_nodes => &[DataType::Environments, DataType::Nodes],
        DataType::Environments => &[DataType::Environments],
        DataType::Nodes => &[DataType::Nodes],
        DataType::ArchivedSites => &[DataType::ArchivedSites],
        DataType::JobLogs => &[DataType::JobLogs],
    }
}
