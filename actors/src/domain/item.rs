//! Mirrored items as they leave the platform adapter: identified, redacted,
//! canonical and versioned. Wire types never come this far.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::ids::ExternalId;
use super::scope::DataType;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

digest! {
    /// sha256 of an item's canonical JSON: the version that decides whether a
    /// row is written.
    SourceVersion
}
digest! {
    /// HMAC-SHA256 of an item's bytes as received, tagged with method and
    /// codec: only a shortcut past parsing. Keyed, because the bytes may hold
    /// secrets that a plain hash would let one guess.
    RawVersion
}

/// One row to be mirrored.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The platform's identifier: appid, node id or action id.
    pub id: ExternalId,
    /// Canonical JSON, secrets and volatile fields removed; what
    /// `source_version` is the hash of.
    pub payload: Box<str>,
    /// sha256 of `payload`.
    pub source_version: SourceVersion,
    /// The shortcut for the next run. It covers the whole environment element
    /// with its nodes: the adapter sets it on the environment, and the planner
    /// copies it to the nodes it plans.
    pub raw_version: Option<RawVersion>,
    /// Version of what a lazy listing shows of an environment (`env` and
    /// `envGroups`), so that a delta sees which ones differ.
    pub outline_version: Option<SourceVersion>,
    /// The columns people filter by.
    pub columns: Columns,
}

impl Item {
    /// The table this item belongs to.
    pub const fn data_type(&self) -> DataType {
        match self.columns {
            Columns::Environment(_) => DataType::Environments,
            Columns::Node(_) => DataType::Nodes,
            Columns::JobLog(_) => DataType::JobLogs,
        }
    }

    /// The environment that a node or an action belongs to.
    pub fn parent(&self) -> Option<&ExternalId> {
        match &self.columns {
            Columns::Environment(_) => None,
            Columns::Node(node) => Some(&node.environment),
            Columns::JobLog(log) => log.environment.as_ref(),
        }
    }
}

/// Typed columns beside the payload. `archived_sites` has none of its own:
/// its rows are made from environments by the apply.
#[derive(Debug, Clone, PartialEq)]
pub enum Columns {
    /// A row of `environments`.
    Environment(Box<EnvironmentColumns>),
    /// A row of `nodes`.
    Node(Box<NodeColumns>),
    /// A row of `job_logs`.
    JobLog(Box<JobLogColumns>),
}

/// Columns of `environments`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EnvironmentColumns {
    /// `env.envName`
    pub env_name: String,
    /// `env.shortdomain`
    pub short_domain: Option<String>,
    /// `env.domain`
    pub domain: Option<String>,
    /// `env.displayName`, absent when unset
    pub display_name: Option<String>,
    /// `env.status`, a platform number (API.md section 4)
    pub status: i32,
    /// `env.uid`
    pub owner_uid: i64,
    /// `env.creatorUid`
    pub creator_uid: Option<i64>,
    /// `env.hostGroup.uniqueName`
    pub region: Option<String>,
    /// `env.createdOn`, read as UTC
    pub created_on: Option<OffsetDateTime>,
    /// `env.ishaenabled`
    pub ha: Option<bool>,
    /// `env.sslstate`
    pub ssl: Option<bool>,
    /// `envGroups`
    pub groups: Vec<String>,
}

/// Columns of `nodes`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeColumns {
    /// appid of the environment the node runs in
    pub environment: ExternalId,
    /// envName of the same
    pub env_name: String,
    /// `name`: the stack, not unique
    pub name: Option<String>,
    /// `displayName`
    pub display_name: Option<String>,
    /// `nodeGroup`, the layer
    pub node_group: Option<String>,
    /// `nodeType`
    pub node_type: Option<String>,
    /// `status`, the same numbers as an environment's
    pub status: i32,
    /// `intIP`; some nodes have none
    pub int_ip: Option<String>,
    /// `extIPs`, v4 and v6 mixed
    pub ext_ips: Vec<String>,
    /// `ismaster`
    pub is_master: Option<bool>,
    /// `fixedCloudlets`
    pub fixed_cloudlets: Option<i32>,
    /// `flexibleCloudlets`
    pub flexible_cloudlets: Option<i32>,
    /// `diskLimit`, MB
    pub disk_limit_mb: Option<i64>,
    /// `version`, the image tag
    pub version: Option<String>,
}

/// Columns of `job_logs`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobLogColumns {
    /// appid the action names, if any
    pub environment: Option<ExternalId>,
    /// envName the action names, if any
    pub env_name: Option<String>,
    /// what was done, e.g. `StartEnv`
    pub action: String,
    /// result code; `None` while it runs
    pub result: Option<i32>,
    /// when it began
    pub started_at: Option<OffsetDateTime>,
    /// when it ended
    pub finished_at: Option<OffsetDateTime>,
    /// who did it
    pub uid: Option<i64>,
    /// their login
    pub login: Option<String>,
}

/// One element of an environment listing.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// Byte-equal to what was stored: the environment and all of its nodes
    /// are unchanged and were not parsed.
    Same(ExternalId),
    /// Parsed.
    Environment(Box<EnvironmentElement>),
    /// Owned by another account; counted and skipped.
    Shared {
        /// The owner's uid.
        owner_uid: i64,
    },
    /// Failed its schema. Without an id the listing cannot be complete.
    Malformed(Malformed),
}

/// An environment with what the same answer said of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentElement {
    /// The environment itself.
    pub environment: Item,
    /// Its nodes; `None` when the answer had no `nodes` key, which is unknown
    /// and never empty.
    pub nodes: Option<Vec<Item>>,
    /// Nodes that failed their schema; their last good rows stay.
    pub malformed_nodes: Vec<Malformed>,
}

/// An element or a part of one that failed its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Malformed {
    /// The table it would have gone to.
    pub data_type: DataType,
    /// Its identifier, where that much could be read.
    pub id: Option<ExternalId>,
    /// What was wrong, without values.
    pub error: String,
    /// The redacted element, capped in length.
    pub raw: String,
}
