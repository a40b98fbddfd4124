//! `vz-sync keys generate`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use time::OffsetDateTime;

use super::{CliError, Context, Exit};
use crate::http::auth::unix_now;
use crate::secrets::MasterKey;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a master key for VZ_SYNC_MASTER_KEYS
    ///
    /// Prints one `id:base64` entry with 256 random bits. The first entry of
    /// VZ_SYNC_MASTER_KEYS encrypts, all of them decrypt: to change the key, put the new
    /// entry in front and leave the old ones behind it.
    Generate(GenerateArgs),
}

/// Arguments of `keys generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Name of the key, stored beside what it seals [default: k and today's date]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Print a complete set for an env file: master key, JWT secret and admin token
    #[arg(long)]
    env: bool,
}

/// Runs it.
pub fn run(command: KeysCommand, context: &Context) -> Result<Exit, CliError> {
    let KeysCommand::Generate(args) = command;
    let id = args.id.map_or_else(default_id, Ok)?;
    let entry = generate(&id)?;
    if args.env {
        let (jwt, admin) = (random_text()?, random_text()?);
        context.output.result(
            &json!({
                "VZ_SYNC_MASTER_KEYS": entry,
                "VZ_SYNC_JWT_SECRET": jwt,
                "VZ_SYNC_ADMIN_TOKEN": admin,
            }),
            &format!(
                "VZ_SYNC_MASTER_KEYS={entry}\nVZ_SYNC_JWT_SECRET={jwt}\nVZ_SYNC_ADMIN_TOKEN={admin}"
            ),
        );
    } else {
        context.output.result(&json!({ "id": id, "entry": entry }), &entry);
    }
    context.output.note(
        "Keep a copy apart from the database's backups: without the key, stored session keys \
         cannot be read.",
    );
    Ok(Exit::Ok)
}

fn generate(id: &str) -> Result<String, CliError> {
    let key = MasterKey::generate(id).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(key.to_entry().expose_secret().to_owned())
}

/// 256 random bits as text, by the same source as the master keys.
fn random_text() -> Result<String, CliError> {
    let entry = generate("x")?;
    Ok(entry.trim_start_matches("x:").trim_end_matches('=').to_owned())
}

fn default_id() -> Result<String, CliError> {
    let seconds = i64::try_from(unix_now()).unwrap_or_default();
    let today = OffsetDateTime::from_unix_timestamp(seconds)
        .context("the clock is past the calendar's end; give --id")?
        .date();
    Ok(format!("k{:04}{:02}{:02}", today.year(), u8::from(today.month()), today.day()))
}
