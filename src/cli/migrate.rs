//! `vz-sync migrate`: the version of the database schema.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::{CliError, Context, Exit};
use crate::adapters::postgres::migrate;
use crate::boot::Database;

/// Change or show the version of the database schema.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Apply every migration that is missing
    Up {
        /// Also create the role vz_reader for SQL readers of the schema vz_api
        #[arg(long)]
        create_reader: bool,
    },
    /// Undo migrations, newest first
    ///
    /// Data that only the newer schema can hold is lost; take a backup first.
    Down {
        /// The version to end at; 0 removes everything
        #[arg(long, value_name = "VERSION")]
        to: u32,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show which migrations are applied
    Status,
}

/// Runs it.
pub async fn run(command: &MigrateCommand, context: &Context) -> Result<Exit, CliError> {
    let config = context.load(Vec::new())?.config;
    let database = Database::open(&config, None).await?;
    let ended = migrate(command, &database, context).await;
    database.close().await?;
    ended
}

async fn migrate(
    command: &MigrateCommand,
    database: &Database,
    context: &Context,
) -> Result<Exit, CliError> {
    let mut client = database.connect().await?;
    match command {
        MigrateCommand::Up { create_reader } => {
            let report = migrate::up(&mut client).await.context("migrate up")?;
            if *create_reader {
                migrate::create_reader(&client).await.context("migrate up --create-reader")?;
            }
            let mut text = match report.applied.as_slice() {
                [] => "the schema is up to date\n".to_owned(),
                applied => format!("applied {applied:?}\n"),
            };
            if let Some(ahead) = report.ahead {
                let _ = writeln!(text, "the database is ahead of this binary: version {ahead}");
            }
            if *create_reader {
                text += "the role vz_reader may read the schema vz_api\n";
            }
            let json = json!({ "applied": report.applied, "ahead": report.ahead });
            context.output.result(&json, &text);
        }
        MigrateCommand::Down { to, yes } => {
            if !yes {
                confirm(context, *to)?;
            }
            let undone = migrate::down(&mut client, *to as i32).await.context("migrate down")?;
            context.output.result(&json!({ "undone": undone }), &format!("undone {undone:?}"));
        }
        MigrateCommand::Status => {
            let status = migrate::status(&client).await.context("migrate status")?;
            let mut text = String::new();
            let mut rows = Vec::new();
            for row in &status {
                let applied = row.applied_at.map(|at| at.to_string());
                let _ = writeln!(
                    text,
                    "V{:<3} {:<24} {}{}",
                    row.version,
                    row.name,
                    applied.as_deref().unwrap_or("not applied"),
                    if row.known { "" } else { "  (unknown to this binary)" },
                );
                rows.push(json!({
                    "version": row.version, "name": row.name,
                    "applied_at": applied, "known": row.known,
                }));
            }
            context.output.result(&json!({ "migrations": rows }), &text);
        }
    }
    Ok(Exit::Ok)
}

fn confirm(context: &Context, to: u32) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        let message = "nobody is there to ask: say --yes to undo migrations";
        return Err(CliError::Usage(message.into()));
    }
    context.output.note(&format!(
        "Undo every migration after version {to}? What only the newer schema can hold is lost. \
         Type yes:"
    ));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
    if answer.trim() == "yes" { Ok(()) } else { Err(CliError::Usage("nothing was undone".into())) }
}
