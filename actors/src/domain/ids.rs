//! Identities. Each is a type of its own, so that a team can never be passed
//! where a job is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scope::Scope;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numeric_id! {
    /// A tenant, under the number that the dashboard gave it.
    TeamId
}
numeric_id! {
    /// One requested run: a row of `vz_sync_jobs`.
    JobId
}
numeric_id! {
    /// A platform installation: a row of `vz_platforms`.
    PlatformId
}
numeric_id! {
    /// A held removal set: a row of `vz_sync_removal_holds`.
    HoldId
}
numeric_id! {
    /// Grows by one each time a (team, scope) is leased; a write that carries
    /// an older fence than the state row is refused.
    Fence
}
numeric_id! {
    /// The place of a durable event in its team's sequence, counted from 1
    /// without gaps in commit order.
    EventNo
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// One boot of one process. A restart is another replica, so a lease of
    /// the former life is recognised as a dead owner's.
    ReplicaId
}
uuid_id! {
    /// One attempt at a job, from lease to end.
    RunId
}

/// The platform's own name of an item, unique within a team and data type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExternalId(Arc<str>);

impl ExternalId {
    /// Wraps the platform's identifier as it was received.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for ExternalId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for ExternalId {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl std::borrow::Borrow<str> for ExternalId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is leased, queued, locked and run as one: a team's scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopeKey {
    /// The tenant.
    pub team: TeamId,
    /// What is synchronised.
    pub scope: Scope,
}

impl ScopeKey {
    /// Names a team's scope.
    pub const fn new(team: TeamId, scope: Scope) -> Self {
        Self { team, scope }
    }
}

impl fmt::Display for ScopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.team, self.scope)
    }
}

/// The text was not `team:scope`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a member of the form team:scope")]
pub struct NotAScopeKey(pub String);

impl FromStr for ScopeKey {
    type Err = NotAScopeKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAScopeKey(text.to_owned());
        let (team, scope) = text.split_once(':').ok_or_else(refuse)?;
        Ok(Self {
            team: TeamId(team.parse().map_err(|_| refuse())?),
            scope: scope.parse().map_err(|_| refuse())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_key_reads_back_what_it_prints() {
        for scope in Scope::ALL {
            let key = ScopeKey::new(TeamId(42), scope);
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    #[test]
    fn a_foreign_member_is_refused_by_name() {
        for text in ["", "42", "42:", "x:environments", "42:environments:1"] {
            let refused = text.parse::<ScopeKey>().expect_err(text);
            assert!(refused.to_string().contains(text));
        }
    }
}
