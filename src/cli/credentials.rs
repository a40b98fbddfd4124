//! `vz-sync credentials`: the Owner's session key of a team.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;
use zeroize::Zeroizing;

use serde_json::json;
use uuid::Uuid;
use vz_sync_actors::domain::{FailureClass, ReplicaId, TeamId};
use vz_sync_actors::new_key::{self, KeyRefused, NewKey, may_be_key};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::credentials::{OnOtherAccount, is_account_changed};

use super::{CliError, Context, Exit};
use crate::boot::{Adapters, Database};
use crate::http::Metrics;

/// What is read at most: a key with blanks around it.
const ROOM: u64 = 8 * 1024;
/// Who is noted as the one who set a key.
const BY: &str = "command line";

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
    let mut text = Zeroizing::new(String::with_capacity(ROOM as usize + 1));
    source.take(ROOM + 1).read_to_string(&mut text).context("the key cannot be read")?;
    let key = text.trim();
    if key.is_empty() {
        return Err(CliError::Usage("the key is empty: write it to stdin or to the file".into()));
    }
    if text.len() as u64 > ROOM || !may_be_key(key) {
        return Err(CliError::Usage(KeyRefused::NoKey.to_string()));
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
    // One request of a person: it does not wait for the share of a replica.
    adapters.ports.limiter.share(1);
    let new = NewKey {
        team,
        session: key,
        other: OnOtherAccount::replace_if(args.replace_account),
        by: BY.to_owned(),
    };
    let ports = &adapters.ports;
    let (teams, platform) = (adapters.teams.as_ref(), ports.platform.as_ref());
    let stored = new_key::store(teams, platform, ports.credentials.as_ref(), new).await;
    let account = stored.map_err(|why| refused(team, why))?;
    context.output.result(
        &json!({ "team_id": team, "owner_uid": account.uid }),
        &format!("key of account {} stored for team {team}; its scopes are due now", account.uid),
    );
    Ok(Exit::Ok)
}

fn refused(team: TeamId, why: KeyRefused) -> CliError {
    match why {
        KeyRefused::NoKey => CliError::Usage(why.to_string()),
        KeyRefused::UnknownTeam(_) => {
            CliError::Usage(format!("{why}: add it first (vz-sync teams add {team})"))
        }
        KeyRefused::Platform(ref failure) => match failure.class {
            FailureClass::Auth | FailureClass::Capability | FailureClass::Invalid => {
                CliError::Failure(why.into())
            }
            _ => CliError::Dependency(why.into()),
        },
        KeyRefused::NotEnabled(_) => CliError::Failure(why.into()),
        KeyRefused::Store(PortError::Refused { ref message, .. }) if changes_account(&why) => {
            CliError::Usage(format!("{message}; --replace-account archives the old mirror"))
        }
        KeyRefused::Store(error) => anyhow::Error::new(error).context("not stored").into(),
    }
}

fn changes_account(why: &KeyRefused) -> bool {
    matches!(why, KeyRefused::Store(error) if is_account_changed(error))
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
