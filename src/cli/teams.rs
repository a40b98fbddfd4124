//! `vz-sync teams`: who is mirrored.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::teams::{NewTeam, TeamView, Teams as _};

use super::{CliError, Context, Exit};
use crate::adapters::postgres::pool::{PoolSizes, Pools};
use crate::adapters::postgres::teams::PgTeams;
use crate::boot::{Database, address_policy};

/// Add or list teams.
#[derive(Debug, Subcommand)]
pub enum TeamsCommand {
    /// Add a team, or change its name and platform
    Add(TeamsAddArgs),
    /// List the teams with their state
    List,
}

/// Arguments of `teams add`.
#[derive(Debug, Args)]
pub struct TeamsAddArgs {
    /// The dashboard's own id of the team
    #[arg(value_name = "TEAM_ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub id: i64,
    /// Name for people
    #[arg(long)]
    pub name: String,
    /// Base URL of the team's platform, such as https://app.example.com
    #[arg(long, value_name = "URL")]
    pub platform_url: String,
    /// Cohort for the rollout; a team that exists keeps its own without this
    #[arg(long, value_name = "NAME")]
    pub cohort: Option<String>,
    /// The new URL of a team that exists leads to the same account: its mirror stays
    ///
    /// Without this a team that moves to another URL starts anew and its old mirror is
    /// archived. Either way it needs a key again, since a key never travels to an address
    /// that it was not given for.
    #[arg(long)]
    pub same_account: bool,
}

/// Runs it.
pub async fn run(command: &TeamsCommand, context: &Context) -> Result<Exit, CliError> {
    let config = context.load(Vec::new())?.config;
    if let TeamsCommand::Add(args) = command {
        // Judged before anything is opened: a wrong URL needs no database.
        address_policy(&config).check(&args.platform_url).map_err(|error| {
            CliError::Usage(format!("--platform-url {}: {error}", args.platform_url))
        })?;
    }
    let database = Database::open(&config, None).await?;
    let pools = Pools::open(&database.connector, PoolSizes::default())
        .context("the pools cannot be made")?;
    let ended = teams(command, &PgTeams::new(pools.pipeline.clone()), context).await;
    pools.close();
    database.close().await?;
    ended
}

async fn teams(
    command: &TeamsCommand,
    teams: &PgTeams,
    context: &Context,
) -> Result<Exit, CliError> {
    match command {
        TeamsCommand::Add(args) => {
            let new = NewTeam {
                id: TeamId(args.id),
                name: args.name.clone(),
                platform_url: args.platform_url.trim_end_matches('/').to_owned(),
                cohorts: args.cohort.clone().map(|cohort| vec![cohort]),
                same_account: args.same_account,
            };
            let team = teams.put(&new).await.context("the team was not added")?;
            let next = if team.has_credentials {
                String::new()
            } else {
                format!("\nIt rests until it has a key: vz-sync credentials set {}", team.id)
            };
            let text = format!("team {} ({}) on {}{next}", team.id, team.name, team.platform_url);
            context.output.result(&json!(team), &text);
        }
        TeamsCommand::List => {
            let all = teams.list().await.context("the teams cannot be listed")?;
            let mut text =
                format!("{:>8}  {:<24} {:<10} {}\n", "TEAM", "NAME", "STATE", "PLATFORM");
            for team in &all {
                let _ = writeln!(
                    text,
                    "{:>8}  {:<24} {:<10} {}",
                    team.id,
                    team.name,
                    state(team),
                    team.platform_url
                );
            }
            context.output.result(&json!({ "teams": all }), &text);
        }
    }
    Ok(Exit::Ok)
}

fn state(team: &TeamView) -> &'static str {
    match (team.paused.is_some(), team.has_credentials, team.in_rollout) {
        (true, _, _) => "paused",
        (_, false, _) => "no key",
        (_, _, false) => "not in",
        _ => "in",
    }
}
