//! Arguments of `vz-sync teams`.

use clap::{Args, Subcommand};

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
    /// Cohort for the rollout
    #[arg(long, value_name = "NAME")]
    pub cohort: Option<String>,
}
