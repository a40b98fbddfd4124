//! Stores a session key that a person hands in: looks at its form, asks the
//! platform whose it is, and only then has it sealed.
//!
//! One way for the API and the command line, so that neither takes what the
//! other refuses. Whether the account may replace the mirrored one is left to
//! the store, which alone sees both at the same moment.

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{Failure, TeamId};
use crate::ports::PortError;
use crate::ports::credentials::{Access, Credentials, OnOtherAccount};
use crate::ports::platform::{Account, Platform};
use crate::ports::teams::Teams;

/// Longest key in bytes.
pub const LONGEST: usize = 1024;

/// A key that a person hands in.
pub struct NewKey {
    /// Whose it is to be.
    pub team: TeamId,
    /// Session key or personal access token.
    pub session: SecretString,
    /// What if it belongs to another account than the mirror does.
    pub other: OnOtherAccount,
    /// Who hands it in.
    pub by: String,
}

/// Why a key was not stored. None of them holds the key.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KeyRefused {
    /// It cannot be a key.
    #[error("a key is one word of 1 to {LONGEST} bytes")]
    NoKey,
    /// There is no such team.
    #[error("there is no team {0}")]
    UnknownTeam(TeamId),
    /// The platform does not take it, or gave no answer.
    #[error("the key was not accepted: {0}")]
    Platform(Failure),
    /// The platform takes it, but the account may do nothing.
    #[error("account {0}, which the key belongs to, is not enabled")]
    NotEnabled(i64),
    /// The store refused it, see
    /// [`is_account_changed`](crate::ports::credentials::is_account_changed),
    /// or gave no answer.
    #[error(transparent)]
    Store(#[from] PortError),
}

/// Whether a text may be a key at all.
pub fn may_be_key(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    (1..=LONGEST).contains(&text.len()) && !text.contains(odd)
}

/// Checks the key with the team's platform and stores it; answers whose it is.
pub async fn store(
    teams: &dyn Teams,
    platform: &dyn Platform,
    credentials: &dyn Credentials,
    new: NewKey,
) -> Result<Account, KeyRefused> {
    let NewKey { team, session, other, by } = new;
    if !may_be_key(session.expose_secret()) {
        return Err(KeyRefused::NoKey);
    }
    let view = teams.get(team).await?.ok_or(KeyRefused::UnknownTeam(team))?;
    let access = Access {
        platform: view.platform,
        base_url: view.platform_url,
        team,
        owner_uid: view.owner_uid,
        session,
    };
    let account = platform.account(&access).await.map_err(KeyRefused::Platform)?;
    if !account.enabled {
        return Err(KeyRefused::NotEnabled(account.uid));
    }
    credentials.replace(team, access.session, account.uid, other, &by).await?;
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_of_reasonable_length() {
        assert!(may_be_key("abc123") && may_be_key(&"x".repeat(LONGEST)));
        for bad in ["", " ", "two words", "a\nb", "a\u{7f}", &"x".repeat(LONGEST + 1)] {
            assert!(!may_be_key(bad), "{bad:?}");
        }
    }
}
