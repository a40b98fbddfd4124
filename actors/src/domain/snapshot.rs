//! Whether an answer of the platform may be taken as the whole truth.
//!
//! Absence is evidence only in a complete listing: nothing in this crate may
//! conclude a removal from anything else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a listing ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// The top-level object closed, `result == 0` was read and every element
    /// could be identified.
    Complete,
    /// Something is missing or doubtful: good elements may be upserted,
    /// nothing may be removed and no `verified_at` may move.
    Partial(PartialReason),
}

impl Completeness {
    /// Whether absence from this listing means anything.
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// Whether nodes that an environment's own answer lacks have left it: that
    /// answer is the whole list of them, also where environments were not
    /// listed.
    pub const fn judges_nodes(&self) -> bool {
        matches!(self, Self::Complete | Self::Partial(PartialReason::NotListed))
    }

    /// Keeps the first doubt: once partial, a listing stays so.
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::Complete => other,
            Self::Partial(_) => self,
        }
    }
}

/// Why a listing is only partial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialReason {
    /// The body ended before its top-level object closed.
    Truncated,
    /// An element had no readable identifier.
    UnidentifiedElement,
    /// An element carried a `result` other than 0.
    ElementFailed,
    /// An own environment came with a `right` other than OWNER.
    NotOwner,
    /// The key's account is not the team's owner.
    AccountMismatch,
    /// A candidate for removal still answers with the owner's uid.
    ContradictedByProbe,
    /// A page of a set was not read.
    PageMissing,
    /// The adapter's own limits cut it short.
    LimitReached,
    /// Nothing was listed: only what the action history names was asked for.
    NotListed,
}

impl PartialReason {
    /// The reason as a stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnidentifiedElement => "unidentified_element",
            Self::ElementFailed => "element_failed",
            Self::NotOwner => "not_owner",
            Self::AccountMismatch => "account_mismatch",
            Self::ContradictedByProbe => "contradicted_by_probe",
            Self::PageMissing => "page_missing",
            Self::LimitReached => "limit_reached",
            Self::NotListed => "not_listed",
        }
    }
}

impl fmt::Display for PartialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
