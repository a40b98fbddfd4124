//! `vz-sync config check|print`.

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Context, Exit};
use crate::config::Config;

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the settings without starting anything
    ///
    /// Reports everything that is wrong at once, by key, and what would be allowed.
    /// Warns about settings that are missing for `serve`. Exit code 3 when refused.
    Check,
    /// Show the settings that hold, each with where it came from
    ///
    /// The output is TOML that can be read back with --config. Secrets are never
    /// shown, only that they are set.
    Print,
}

/// Runs it.
pub fn run(command: &ConfigCommand, context: &Context) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Check => check(context),
        ConfigCommand::Print => {
            let loaded = context.load(Vec::new())?;
            context.output.result(&loaded.to_json(), &loaded.to_toml());
            Ok(Exit::Ok)
        }
    }
}

fn check(context: &Context) -> Result<Exit, CliError> {
    match context.load(Vec::new()) {
        Ok(loaded) => {
            let warnings = warnings(&loaded.config);
            for warning in &warnings {
                context.output.note(&format!("warning: {warning}"));
            }
            context.output.result(
                &json!({ "ok": true, "warnings": warnings }),
                &format!("The settings are fine ({} keys).", loaded.settings.len()),
            );
            Ok(Exit::Ok)
        }
        Err(CliError::Config(error)) if context.output.is_json() => {
            let problems: Vec<_> = error
                .problems
                .iter()
                .map(|p| json!({ "key": p.key, "origin": p.origin, "message": p.message }))
                .collect();
            context.output.result(&json!({ "ok": false, "problems": problems }), "");
            Ok(Exit::Config)
        }
        Err(error) => Err(error),
    }
}

/// Not wrong, and yet not what a service should run with.
fn warnings(config: &Config) -> Vec<&'static str> {
    let unset = [
        (
            config.secrets.master_keys.is_none(),
            "VZ_SYNC_MASTER_KEYS is unset: session keys cannot be stored (vz-sync keys generate)",
        ),
        (
            config.auth.jwt_secret.is_none(),
            "VZ_SYNC_JWT_SECRET is unset: the API refuses every caller",
        ),
        (config.admin.token.is_none(), "VZ_SYNC_ADMIN_TOKEN is unset: /admin refuses every caller"),
        (
            config.database.url.is_none(),
            "VZ_SYNC_DATABASE_URL is unset: a private database in database.data_dir is used",
        ),
        (
            !config.pipeline.enabled,
            "ENABLE_VZ_SYNC_PIPELINE is off: serve would answer reads and refuse triggers",
        ),
        (
            !config.admin.listen.ip().is_loopback(),
            "admin.listen is not a loopback address: keep that port off the public network",
        ),
    ];
    unset.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
}
