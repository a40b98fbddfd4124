//! Commits: what a run writes, and what became of it.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::lease::{Cursor, LeaseRef};
use crate::domain::cadence::DueTimes;
use crate::domain::diff::Change;
use crate::domain::event::ChangedId;
use crate::domain::item::{Item, Malformed};
use crate::domain::plan::UpsertKind;
use crate::domain::removal::{HoldChange, MissingReason, StaleReason};
use crate::domain::{
    Completeness, Counts, DataType, EventNo, ExternalId, Failure, HoldId, Mode, RawVersion, Scope,
};

/// One row to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert {
    /// The row.
    pub item: Item,
    /// What it does to the table.
    pub kind: UpsertKind,
    /// The change row that goes with it; a first load writes none.
    pub change: Option<Change>,
}

/// Where an apply's rows are.
#[derive(Debug, Clone, PartialEq)]
pub enum Upserts {
    /// Here.
    Inline(Vec<Upsert>),
    /// In the run's staging rows.
    Staged,
}

/// What a run found in one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableApply {
    /// The table.
    pub data_type: DataType,
    /// Moves the table's `verified_at` to the time the request was sent.
    pub verified: bool,
    /// Rows to write. An upsert clears every flag of its row.
    pub upserts: Upserts,
    /// Rows to mark missing, with `needs_validation`.
    pub missing: Vec<(ExternalId, MissingReason)>,
    /// Rows to mark stale. Environments are archived with it, and their nodes
    /// must be listed in the nodes' own apply.
    pub stale: Vec<(ExternalId, StaleReason)>,
    /// Rows whose last received form failed its schema: they stay served and
    /// are marked `needs_validation`.
    pub quarantined: Vec<Malformed>,
    /// Rows that the listing says nothing of, although it speaks of their
    /// environment: they stay served and are marked `needs_validation`.
    pub unseen: Vec<ExternalId>,
    /// What to add to the counts kept for the table.
    pub counts: Counts,
}

/// A site of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedSite {
    /// appid
    pub id: ExternalId,
    /// envName, to ask the platform with.
    pub env_name: String,
    /// When the mirror confirmed it gone.
    pub archived_at: OffsetDateTime,
    /// Whether the action history told who deleted it.
    pub annotated: bool,
    /// When the platform was last asked whether it lives.
    pub probed_at: Option<OffsetDateTime>,
}

/// What the archive learnt of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// appid
    pub id: ExternalId,
    /// Who deleted it, by the action history.
    pub deleted_by: Option<String>,
    /// When, by the action history.
    pub deleted_at: Option<OffsetDateTime>,
    /// It was asked for again and is (`true`) or is not there.
    pub probed: Option<bool>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Apply {
    /// The guard: another fence or run and nothing is written.
    pub lease: LeaseRef,
    /// Full or delta; kept as `verified_by`.
    pub mode: Mode,
    /// When the listing's request was sent: `synced_at`, `verified_at`, and
    /// the bound for clearing the request.
    pub sent_at: Instant,
    /// Whether the listing was complete; told in the event.
    pub completeness: Completeness,
    /// Set for a partial listing: its rows are written and its job succeeds,
    /// but the request stands, a failure is counted and the state waits.
    pub doubt: Option<Doubt>,
    /// The tables of the scope.
    pub tables: Vec<TableApply>,
    /// Holds to make or move.
    pub holds: Vec<HoldChange>,
    /// What the archive learnt.
    pub annotations: Vec<Annotation>,
    /// Hash of the body, kept for the byte-equal shortcut.
    pub body: Option<RawVersion>,
    /// When the state is due next.
    pub due: DueTimes,
    /// Where the next delta goes on.
    pub cursor: Option<Cursor>,
    /// What `sync.completed` names, capped by the caller.
    pub changed: Vec<ChangedId>,
    /// Whether more changed.
    pub truncated: bool,
    /// Sum over the tables.
    pub counts: Counts,
    /// Also make this scope due at once, e.g. environments when an archived
    /// site turns out to live.
    pub wake: Option<Scope>,
}

/// Why a commit does not settle the matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What was wrong with the listing.
    pub failure: Failure,
    /// How long the state waits before the next run.
    pub wait: Duration,
}

/// The answer to [`Store::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Committed.
    Committed {
        /// The number of `sync.completed`.
        event: EventNo,
        /// Holds that were made, with the number of their event.
        held: Vec<HoldId>,
        /// Whether a request still stands or the state is due again already.
        runnable_again: bool,
    },
    /// The lease is another run's, or over: nothing was written.
    Overtaken,
}
