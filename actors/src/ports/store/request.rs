//! Wishes for a sooner run, and their answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Class, JobId, Mode, Scope, TeamId};

/// A wish for a sooner run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// Whose.
    pub team: TeamId,
    /// Which scopes; each gets its answer.
    pub scopes: Vec<Scope>,
    /// Manual or demand. A demand is taken at most once per
    /// `demand_interval`, and not at all while the scope rests.
    pub class: Class,
    /// How much; `None` lets the run choose.
    pub mode: Option<Mode>,
    /// Environments to refetch first, by envName.
    pub environments: Vec<String>,
    /// Who asks: a subject, or `reader`.
    pub requested_by: String,
    /// W3C `traceparent`.
    pub trace_parent: Option<String>,
    /// Least time between two demand runs of one scope.
    pub demand_interval: Duration,
    /// Makes a repeated call answer as the first one did.
    pub idempotency: Option<Idempotency>,
    /// Manual triggers that one team may make per minute; `None` is no limit.
    pub per_minute: Option<u32>,
}

/// An `Idempotency-Key` with the hash of the body it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// sha256 of the canonical request.
    pub body_hash: [u8; 32],
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// Taken, scope by scope.
    Accepted(Vec<RequestedJob>),
    /// The key was used before with another body.
    IdempotencyConflict,
    /// Too many triggers.
    TooMany {
        /// When the next one is taken.
        retry_in: Duration,
    },
    /// The team cannot be asked for; nothing was noted.
    Resting(Resting),
    /// There is no such team.
    UnknownTeam,
}

/// Why a team rests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resting {
    /// The pipeline is switched off, or the rollout leaves the team out.
    OutOfRollout,
    /// An operator or the sustained-failure rule paused it.
    Paused(String),
    /// No key is stored.
    NoCredentials,
    /// The key was refused.
    Auth(String),
    /// Nothing more is needed: a demand run was asked for a moment ago.
    RecentlyAsked,
    /// The platform's circuit is open; demand only.
    CircuitOpen,
}

/// The job that will satisfy a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedJob {
    /// The scope.
    pub scope: Scope,
    /// The queued job.
    pub job_id: JobId,
    /// Queued jobs that go before it, as far as can be told.
    pub position: u64,
    /// Whether it was queued already.
    pub coalesced: bool,
}
