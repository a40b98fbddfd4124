//! What the mirror already holds of a scope, as far as planning needs it.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::ids::{ExternalId, Fence, HoldId};
use super::item::{RawVersion, SourceVersion};
use super::scope::DataType;

/// Versions and flags of the rows of one (team, scope), stale rows included.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// Rows by table. Only the tables of the scope are filled.
    pub environments: HashMap<ExternalId, StoredRow>,
    /// Nodes, each with its environment as parent.
    pub nodes: HashMap<ExternalId, StoredRow>,
    /// Removal sets that are held or were rejected and still bind.
    pub holds: Vec<StoredHold>,
    /// Hash of the last complete body, if nothing was applied since; lets a
    /// byte-equal answer skip planning.
    pub body: Option<RawVersion>,
}

impl Baseline {
    /// The rows of one table; empty for tables that runs only append to.
    pub fn rows(&self, data_type: DataType) -> Option<&HashMap<ExternalId, StoredRow>> {
        match data_type {
            DataType::Environments => Some(&self.environments),
            DataType::Nodes => Some(&self.nodes),
            DataType::ArchivedSites | DataType::JobLogs => None,
        }
    }

    /// Whether the team was never loaded: a first load writes no change rows.
    pub fn is_empty(&self) -> bool {
        self.environments.is_empty() && self.nodes.is_empty()
    }

    /// Whether any live row is in doubt, or a removal waits for a decision. A
    /// byte-equal body may skip planning only when not.
    pub fn in_doubt(&self) -> bool {
        self.environments.values().chain(self.nodes.values()).any(|row| row.flags.unsettled())
            || self.holds.iter().any(|hold| hold.state != HoldState::Expired)
    }

    /// The index that lets an adapter answer [`Element::Same`]; build it once
    /// per listing.
    ///
    /// An environment is in it only if none of its rows is in doubt and its
    /// newest rows agree on one raw version. Newest, because a node may have
    /// been written since its environment was: the environment's own raw
    /// version then describes a form that is no longer what the mirror holds,
    /// and answering `Same` when the platform goes back to that form would
    /// keep the wrong node.
    ///
    /// [`Element::Same`]: super::item::Element::Same
    pub fn shortcuts(&self) -> Shortcuts {
        let mut newest: HashMap<&ExternalId, Newest> = self
            .environments
            .iter()
            .filter(|(_, row)| !row.flags.any())
            .map(|(id, row)| (id, Newest { fence: row.fence, raw: row.raw_version }))
            .collect();
        for row in self.nodes.values() {
            let Some(parent) = &row.parent else { continue };
            if row.flags.unsettled() {
                newest.remove(parent);
            } else if let Some(entry) = newest.get_mut(parent) {
                entry.take(row);
            }
        }
        let by_raw = newest.into_iter().filter_map(|(id, entry)| Some((entry.raw?, id.clone())));
        Shortcuts { by_raw: by_raw.collect() }
    }
}

/// Which environments are unchanged if their element's bytes are.
#[derive(Debug, Clone, Default)]
pub struct Shortcuts {
    by_raw: HashMap<RawVersion, ExternalId>,
}

impl Shortcuts {
    /// The environment whose rows say exactly what these bytes say.
    pub fn get(&self, raw: &RawVersion) -> Option<&ExternalId> {
        self.by_raw.get(raw)
    }

    /// How many environments can be recognised.
    pub fn len(&self) -> usize {
        self.by_raw.len()
    }

    /// Whether nothing can be recognised.
    pub fn is_empty(&self) -> bool {
        self.by_raw.is_empty()
    }
}

/// The latest word on an environment and its nodes.
struct Newest {
    fence: Fence,
    raw: Option<RawVersion>,
}

impl Newest {
    fn take(&mut self, row: &StoredRow) {
        // A row that was marked stale carries the raw version of an older
        // form: it only tells that something happened at its fence.
        let raw = if row.flags.stale { None } else { row.raw_version };
        match row.fence.cmp(&self.fence) {
            Ordering::Greater => (self.fence, self.raw) = (row.fence, raw),
            Ordering::Equal if !row.flags.stale && raw != self.raw => self.raw = None,
            Ordering::Equal | Ordering::Less => {}
        }
    }
}

/// One stored row.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// Version of the stored payload.
    pub source_version: SourceVersion,
    /// Shortcut version of the whole environment element that the row was
    /// last written from; nodes carry their environment's.
    pub raw_version: Option<RawVersion>,
    /// Fence of the run that wrote the row last. Marks (missing, stale,
    /// quarantined) are writes: they raise it too.
    pub fence: Fence,
    /// Version of the environment without its nodes and layers, which is what
    /// a lazy listing shows; environments only.
    pub outline_version: Option<SourceVersion>,
    /// The environment of a node.
    pub parent: Option<ExternalId>,
    /// The name that platform methods take; environments only.
    pub env_name: Option<String>,
    /// Platform status number; environments and nodes.
    pub status: Option<i32>,
    /// Doubts about the row.
    pub flags: RowFlags,
}

/// Doubts about a row. An equal item whose row carries any is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowFlags {
    /// Absent from a complete listing since then, not yet confirmed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub missing_since: Option<OffsetDateTime>,
    /// Confirmed gone.
    pub stale: bool,
    /// Served, but the last thing seen of it was doubtful.
    pub needs_validation: bool,
    /// Its removal waits for a decision.
    pub held: bool,
    /// Its last received form failed the schema.
    pub quarantined: bool,
}

impl RowFlags {
    /// Whether an equal item must be written to clear a doubt.
    pub const fn any(&self) -> bool {
        self.missing_since.is_some()
            || self.stale
            || self.needs_validation
            || self.held
            || self.quarantined
    }

    /// Whether the row is live and in doubt. A stale row is settled: it is
    /// known to be gone.
    pub const fn unsettled(&self) -> bool {
        !self.stale && self.any()
    }
}

/// A removal set that binds later runs.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredHold {
    /// The hold.
    pub id: HoldId,
    /// Its table: environments or nodes. A hold on nodes lists the
    /// environments that fell to zero nodes.
    pub data_type: DataType,
    /// Held or rejected.
    pub state: HoldState,
    /// The rows it covers, less those that returned.
    pub items: Vec<ExternalId>,
    /// Complete listings since it was made that miss the whole set too.
    pub agreeing_listings: u32,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When the last listing was asked for that counts for it: the one that
    /// made it or added to it, or the last one that agreed.
    pub counted_at: OffsetDateTime,
    /// When it was decided, if it was.
    pub decided_at: Option<OffsetDateTime>,
}

/// The life of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Waits for a decision or for agreement.
    Held,
    /// Approved, by people or by two later listings.
    Released,
    /// Refused: the rows are served until seen again and not held anew for a while.
    Rejected,
    /// Every row came back.
    Expired,
}

impl HoldState {
    /// The word used in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Released => "released",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}
