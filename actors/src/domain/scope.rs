//! What one run synchronises, and how.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one run synchronises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Environments *and* nodes: the platform lists them together.
    Environments,
    /// Annotations of environments that were confirmed gone.
    ArchivedSites,
    /// The platform's action history, an append-only window.
    JobLogs,
}

/// One mirrored table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// `environments`
    Environments,
    /// `nodes`
    Nodes,
    /// `archived_sites`
    ArchivedSites,
    /// `job_logs`
    JobLogs,
}

/// How much a run asks the platform for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Only what may have changed since the cursor.
    Delta,
    /// The complete listing, compared with the mirror. Orders above a delta:
    /// a request for both is a request for a full.
    Full,
}

/// The text named nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not one of {allowed}")]
pub struct UnknownWord {
    /// What was given.
    pub given: String,
    /// What would have been accepted.
    pub allowed: &'static str,
}

macro_rules! words {
    ($type:ident, $allowed:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl $type {
            /// Every value, in declaration order.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word used in SQL, JSON, metrics and keys.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { given: text.to_owned(), allowed: $allowed }),
                }
            }
        }
    };
}
pub(crate) use words;

words!(Scope, "environments, archived_sites, job_logs",
    Environments => "environments",
    ArchivedSites => "archived_sites",
    JobLogs => "job_logs",
);
words!(DataType, "environments, nodes, archived_sites, job_logs",
    Environments => "environments",
    Nodes => "nodes",
    ArchivedSites => "archived_sites",
    JobLogs => "job_logs",
);
words!(Mode, "delta, full",
    Delta => "delta",
    Full => "full",
);

impl Scope {
    /// The tables that a run of this scope answers for.
    pub const fn data_types(self) -> &'static [DataType] {
        match self {
            Self::Environments => &[DataType::Environments, DataType::Nodes],
            Self::ArchivedSites => &[DataType::ArchivedSites],
            Self::JobLogs => &[DataType::JobLogs],
        }
    }
}

impl DataType {
    /// The scope whose runs keep this table.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Environments | Self::Nodes => Scope::Environments,
            Self::ArchivedSites => Scope::ArchivedSites,
            Self::JobLogs => Scope::JobLogs,
        }
    }
}
