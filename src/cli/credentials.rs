//! `vz-sync credentials`: the Owner's session key of a team.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;
use zeroize::Zeroizing;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;
use vz_sync_actors::domain::{PlatformId, ReplicaId, TeamId};
use vz_sync_actors::ports::credentials::{Access, OnOtherAccount};
use vz_sync_actors::ports::teams::TeamView;

use super::{CliError, Context, Exit};
use crate::boot::{Adapters, Database};
use crate::http::Metrics;

const LONGEST: u64 = 8 * 1024;
/// Enough for the one request that checks a key.
const ONE_REQUEST: Duration = Duration::from_mins(5);

/// Set a team's platform credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// Store the Owner's session key or access token, sealed
    ///
    /// The key is read from stdin or a file, never from an argument: arguments are seen
    /// by every process of the machine. It is checked with the platform before it is stored.
    Set(CredentialsSetArgs),
}

/// Arguments of `credentials set`.
#[derive(Debug, Args)]
pub struct CredentialsSetArgs {
    /// The team
    #[arg(value_name = "TEAM_ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub team_id: i64,
    /// File that holds the key [default: stdin]
    #[arg(long, value_name = "FILE")]
    pub session_file: Option<PathBuf>,
    /// Take a key of another account: archives the old mirror and starts anew
    #[arg(long)]
    pub replace_account: bool,
}

impl CredentialsSetArgs {
    /// The key from the file, or from `stdin`. Blanks around it are dropped.
    pub fn read_session(&self, stdin: impl Read) -> Result<SecretString, CliError> {
        match &self.session_file {
            Some(path) => {
                let file = File::open(path)
                    .with_context(|| format!("{} cannot be opened", path.display()))?;
                read_key(file)
            }
            None => read_key(stdin),
        }
    }
}

fn read_key(source: impl Read) -> Result<SecretString, CliError> {
    // Room for all of it from the start: a growing buffer would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    source.take(LONGEST + 1).read_to_string(&mut text).context("the key cannot be read")?;
    let key = text.trim();
    if key.is_empty() {
        return Err(CliError::Usage("the key is empty: write it to stdin or to the file".into()));
    }
    if text.len() as u64 > LONGEST {
        return Err(CliError::Usage(format!("the key is longer than {LONGEST} bytes")));
    }
    if key.contains(char::is_whitespace) || key.contains(char::is_control) {
        return Err(CliError::Usage("the key must be a single word".into()));
    }
    Ok(SecretString::from(key))
}

/// Runs it.
pub async fn run(command: &CredentialsCommand, context: &Context) -> Result<Exit, CliError> {
    let CredentialsCommand::Set(args) = command;
    let config = context.load(Vec::new())?.config;
    let key = args.read_session(std::io::stdin())?;
    let database = Database::open(&config, None).await?;
    let metrics = Metrics::new().context("the metrics cannot be made")?;
    let replica = ReplicaId(Uuid::new_v4());
    let adapters = Adapters::build(&config, &database, replica, &metrics).await?;
    let ended = set(args, key, &adapters, context).await;
    adapters.pools.close();
    database.close().await?;
    ended
}

async fn set(
    args: &CredentialsSetArgs,
    key: SecretString,
    adapters: &Adapters,
    context: &Context,
) -> Result<Exit, CliError> {
    let team = TeamId(args.team_id);
    let all = adapters.teams.list().await.context("the teams cannot be listed")?;
    let Some(view) = all.into_iter().find(|view| view.id == team) else {
        let message = format!("there is no team {team}: add it first (vz-sync teams add {team})");
        return Err(CliError::Usage(message));
    };
    // One request of a person: it does not wait for the share of a replica.
    adapters.ports.limiter.share(1, Instant::now() + ONE_REQUEST);
    let account = adapters
        .ports
        .platform
        .account(&access(&view, key.clone()))
        .await
        .map_err(|failure| CliError::Dependency(anyhow::anyhow!("{failure}")))?;
    if view.owner_uid.is_some_and(|uid| uid != account.uid) && !args.replace_account {
        return Err(CliError::Usage(format!(
            "account-changed: the key belongs to account {}, the team to {}; --replace-account archives the old mirror",
            account.uid,
            view.owner_uid.unwrap_or_default(),
        )));
    }
    let other = OnOtherAccount::replace_if(args.replace_account);
    adapters
        .ports
        .credentials
        .replace(team, key, account.uid, other)
        .await
        .context("not stored")?;
    context.output.result(
        &json!({ "team_id": team, "owner_uid": account.uid }),
        &format!("key of account {} stored for team {team}; its scopes are due now", account.uid),
    );
    Ok(Exit::Ok)
}

fn access(team: &TeamView, session: SecretString) -> Access {
    Access {
        platform: PlatformId(team.platform.0),
        base_url: team.platform_url.clone(),
        team: team.id,
        owner_uid: team.owner_uid,
        session,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_key_is_one_word_of_reasonable_length() {
        assert_eq!(read_key(" abc123\n".as_bytes()).unwrap().expose_secret(), "abc123");
        for bad in ["", " \n", "two words", "a\nb"] {
            assert!(matches!(read_key(bad.as_bytes()), Err(CliError::Usage(_))), "{bad:?}");
        }
        assert!(read_key("x".repeat(9000).as_bytes()).is_err());
        assert!(read_key([0xff, 0xfe].as_slice()).is_err());
    }
}
