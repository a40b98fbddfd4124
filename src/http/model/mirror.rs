//! Mirrored rows, their changes and held removals.

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use vz_sync_actors::domain::DataType;
use vz_sync_actors::ports::reads::{ChangeRow, HoldRow};

use super::words::DataTypeWord;
use crate::http::freshness::FreshnessBlock;

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
