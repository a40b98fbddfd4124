//! The platform, as far as a mirror asks it.
//!
//! An adapter translates wire answers into identified, redacted, versioned
//! items and failures with a class. It takes the rate limiter and the gates
//! before every request. It never retries by itself except once on a
//! connection that the other side closed while idle.

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::credentials::Access;
use crate::domain::item::{Element, Item};
use crate::domain::{Baseline, Completeness, Counts, ExternalId, Failure, RawVersion};

/// Answers of a platform.
pub type PlatformResult<T> = Result<T, Failure>;

/// Asks a platform in a team's name.
#[async_trait]
pub trait Platform: Send + Sync + 'static {
    /// `getuserinfo`: whose key this is.
    async fn account(&self, access: &Access) -> PlatformResult<Account>;

    /// `getbasicenvsinfo`: every environment with its nodes, handed to the
    /// sink as it arrives. Elements that are byte-equal to `baseline` come as
    /// [`Element::Same`]. An error means that no usable answer came; elements
    /// already handed over count as a partial listing. A token that may not
    /// call the method is tried with `getenvs`, whose elements have the same
    /// projection here; one that may call neither is refused (`Auth`).
    async fn environments(
        &self,
        access: &Access,
        baseline: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing>;

    /// `getenvs?lazy=true`: which environments there are, in outline.
    async fn outlines(&self, access: &Access) -> PlatformResult<Outlines>;

    /// `getenvinfo`: one environment, in the same projection as a listing.
    async fn environment(&self, access: &Access, env_name: &str) -> PlatformResult<Lookup>;

    /// `searchactions`: one page of the action history.
    async fn actions(&self, access: &Access, query: &ActionQuery) -> PlatformResult<ActionPage>;

    /// `getcurrentactions`: the environments with something under way.
    async fn current_actions(&self, access: &Access) -> PlatformResult<Vec<ActionTarget>>;
}

/// Receives a listing's elements in order, in batches.
#[async_trait]
pub trait ElementSink: Send {
    /// Takes a batch; waiting here is backpressure on the download.
    async fn accept(&mut self, batch: Vec<Element>) -> PlatformResult<()>;
}

/// The account behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The platform's number for it.
    pub uid: i64,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// How a streamed listing ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Whether absence from it means anything.
    pub completeness: Completeness,
    /// When its request was sent.
    pub sent_at: Instant,
    /// Elements seen; only `listed`, `shared` and `quarantined` are set.
    pub counts: Counts,
    /// Hash of the whole body.
    pub body: Option<RawVersion>,
}

/// A lazy listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlines {
    /// Whether absence from it means anything.
    pub completeness: Completeness,
    /// When its request was sent.
    pub sent_at: Instant,
    /// The owner's environments.
    pub outlines: Vec<Outline>,
    /// Environments of other owners, skipped.
    pub shared: u64,
}

/// One environment in outline.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// appid
    pub id: ExternalId,
    /// envName
    pub env_name: String,
    /// Platform status number.
    pub status: i32,
    /// Version of what the outline shows.
    pub version: crate::domain::SourceVersion,
}

/// What `getenvinfo` said.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It is there.
    Found {
        /// The element, as a listing would have given it.
        element: Element,
        /// When its request was sent.
        sent_at: Instant,
    },
    /// Result 11: gone, or not visible to this key.
    Gone,
}

/// A window of the action history, by the platform's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionQuery {
    /// From here, inclusive.
    pub from: OffsetDateTime,
    /// To here; `None` is now.
    pub until: Option<OffsetDateTime>,
    /// First row.
    pub start_row: u64,
    /// Most rows.
    pub rows: u32,
    /// Only this action, e.g. deletions.
    pub action: Option<String>,
}

/// One page of actions.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionPage {
    /// The actions as `job_logs` items.
    pub items: Vec<Item>,
    /// Rows of the whole window.
    pub total: u64,
    /// Whether every element of the page could be identified.
    pub completeness: Completeness,
    /// When its request was sent.
    pub sent_at: Instant,
    /// The platform's own time when it answered, if it told.
    pub clock: Option<OffsetDateTime>,
    /// Elements that failed their schema.
    pub malformed: Vec<crate::domain::item::Malformed>,
}

/// An environment that an action names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActionTarget {
    /// appid, where the action tells it.
    pub id: Option<ExternalId>,
    /// envName, where the action tells it.
    pub env_name: Option<String>,
}
