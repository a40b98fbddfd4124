//! The Owner's session key of each team: sealed at rest, open only for the
//! length of a run.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use time::OffsetDateTime;

use super::{PortError, PortResult};
use crate::domain::{PlatformId, TeamId};

/// Keeps the keys.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// Opens the team's key for one run.
    async fn resolve(&self, team: TeamId) -> PortResult<Resolved>;

    /// Seals and stores a key that was checked against the platform. Clears an
    /// auth pause and makes every scope of the team due at once. What becomes
    /// of a key whose account is not the mirrored one, `other` decides; `by` is
    /// noted as who set it.
    async fn replace(
        &self,
        team: TeamId,
        key: SecretString,
        owner_uid: i64,
        other: OnOtherAccount,
        by: &str,
    ) -> PortResult<()>;

    /// Erases the key; the team rests.
    async fn erase(&self, team: TeamId) -> PortResult<()>;

    /// Teams whose refused key is due for a probe. Each is answered to one
    /// caller only: its next probe moves `again_in` ahead, which is when it comes
    /// if this one brings no answer.
    async fn due_probes(&self, limit: u32, again_in: Duration) -> PortResult<Vec<TeamId>>;

    /// A probe found that the platform still refuses the key: the next one is due
    /// after `again_in`. Nothing happens when the team rests no longer.
    async fn refused_again(&self, team: TeamId, again_in: Duration) -> PortResult<()>;

    /// A probe found that the platform takes the key again: clears the auth
    /// pause and makes every scope of the team due. `false` when there was
    /// nothing to clear.
    async fn accepted(&self, team: TeamId) -> PortResult<bool>;

    /// Whether there is a key, and since when; never the key.
    async fn describe(&self, team: TeamId) -> PortResult<Option<CredentialInfo>>;
}

/// What to do with a key that belongs to another account than the team's
/// mirror does. Without a mirrored account, or with the same one, both are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOtherAccount {
    /// Nothing is changed; the refusal is one that [`is_account_changed`] knows.
    Refuse,
    /// The old mirror is archived and the team starts anew, all at once: runs
    /// under way commit nothing, environments and nodes are stale as
    /// `account_replaced`, open removal sets expire, and no table counts as
    /// verified until the new account was read in full.
    Replace,
}

impl OnOtherAccount {
    /// What a person's `replace_account` stands for.
    pub const fn replace_if(asked: bool) -> Self {
        if asked { Self::Replace } else { Self::Refuse }
    }
}

/// How the refusal of another account's key begins.
const ACCOUNT_CHANGED: &str = "account-changed";

/// The refusal of a key of `other` for a team that mirrors `owner`.
pub fn account_changed(service: &'static str, team: TeamId, owner: i64, other: i64) -> PortError {
    let message = format!(
        "{ACCOUNT_CHANGED}: team {team} mirrors account {owner}, the key belongs to account {other}"
    );
    PortError::Refused { service, message }
}

/// Whether a key was refused because it belongs to another account.
pub fn is_account_changed(error: &PortError) -> bool {
    matches!(error, PortError::Refused { message, .. } if message.starts_with(ACCOUNT_CHANGED))
}

/// What [`Credentials::resolve`] answers.
#[derive(Debug)]
pub enum Resolved {
    /// Use it, then drop it.
    Access(Access),
    /// The team has none.
    None,
    /// There is one that the key ring cannot open; the text names the key id.
    Unreadable(String),
}

/// All it takes to ask a platform in a team's name.
pub struct Access {
    /// Which platform.
    pub platform: PlatformId,
    /// Its base URL, without a path.
    pub base_url: String,
    /// The team.
    pub team: TeamId,
    /// Whose environments are meant; `None` before the first check.
    pub owner_uid: Option<i64>,
    /// Session key or personal access token.
    pub session: SecretString,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("platform", &self.platform)
            .field("team", &self.team)
            .field("owner_uid", &self.owner_uid)
            .finish_non_exhaustive()
    }
}

/// What may be told of a stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialInfo {
    /// Which ring key sealed it.
    pub key_id: String,
    /// When it was stored.
    pub set_at: OffsetDateTime,
    /// The account it belongs to.
    pub owner_uid: i64,
}
