//! Who is mirrored: teams, their settings and the rollout. Used by the
//! command line and the admin API; the pipeline reads the same rows through
//! the store.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::PortResult;
use crate::domain::{DataType, PlatformId, Scope, TeamId};

/// Keeps teams.
#[async_trait]
pub trait Teams: Send + Sync + 'static {
    /// Adds a team or updates its name and platform; its scopes exist from
    /// then on and are due once it has a key. A team that moves to another
    /// platform loses its key, and what runs for it commits nothing; what
    /// becomes of its mirror, [`NewTeam::same_account`] decides.
    async fn put(&self, team: &NewTeam) -> PortResult<TeamView>;

    /// One team.
    async fn get(&self, team: TeamId) -> PortResult<Option<TeamView>>;

    /// Replaces what a team has of its own in the place of the configuration. A
    /// shorter interval counts from now on. `false` when there is no such team.
    async fn set_overrides(&self, team: TeamId, overrides: &Overrides) -> PortResult<bool>;

    /// Every team, by id.
    async fn list(&self) -> PortResult<Vec<TeamView>>;

    /// Removes a team: raises every fence, erases its key, and leaves its rows
    /// to the janitor. `false` when it was not there.
    async fn remove(&self, team: TeamId) -> PortResult<bool>;

    /// Pauses or resumes every scope of a team. A resume forgets the count of
    /// failures and makes the team due.
    async fn set_paused(&self, team: TeamId, paused: Option<Pause>) -> PortResult<bool>;

    /// Who takes part.
    async fn rollout(&self) -> PortResult<Rollout>;

    /// Changes who takes part, and notes who wanted it; a team taken out
    /// finishes its run.
    async fn set_rollout(&self, rollout: &Rollout, by: &str) -> PortResult<()>;
}

/// A team to be mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTeam {
    /// The dashboard's own number.
    pub id: TeamId,
    /// For people.
    pub name: String,
    /// Base URL of its platform, e.g. `https://app.hoster.example`.
    pub platform_url: String,
    /// Cohorts it belongs to; `None` keeps those it has.
    pub cohorts: Option<Vec<String>>,
    /// Whether another platform URL leads to the account that is mirrored.
    /// Then mirror and owner stay, and the next key must be that owner's.
    /// Otherwise the old mirror is archived, and the team starts anew.
    pub same_account: bool,
}

/// Why a team rests by the will of people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Who wants it: the subject of a token.
    pub by: String,
    /// For whoever wonders later.
    pub reason: String,
}

/// What a team has of its own; what is absent is as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Seconds between two fulls of a scope.
    pub full_interval_seconds: BTreeMap<Scope, u32>,
    /// Seconds between two deltas of a scope.
    pub delta_interval_seconds: BTreeMap<Scope, u32>,
    /// Age in seconds from which an answer of a table is stale.
    pub max_allowed_staleness_seconds: BTreeMap<DataType, u32>,
}

/// A team as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TeamView {
    /// Its number.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// Its platform.
    pub platform: PlatformId,
    /// Base URL of that.
    pub platform_url: String,
    /// The account that owns its environments, once known.
    pub owner_uid: Option<i64>,
    /// Whether a key is stored.
    pub has_credentials: bool,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Whether the rollout includes it.
    pub in_rollout: bool,
    /// What it has of its own.
    pub overrides: Overrides,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Who takes part in the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollout {
    /// The switch of all processes at once; each has its own besides
    /// (`ENABLE_VZ_SYNC_PIPELINE`), and both must be on.
    pub enabled: bool,
    /// Every team, whatever the rest says.
    pub everyone: bool,
    /// These teams.
    pub teams: Vec<TeamId>,
    /// Teams of these cohorts.
    pub cohorts: Vec<String>,
    /// This share of the teams by stable hash, 0 to 100.
    pub percent: u8,
}
