//! `bench pipeline`: the real engine once over any platform and any database, so that other
//! engines can be timed beside it on the same work.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio_postgres::{Client, Config as PgConfig};
use vz_sync_actors::domain::TeamId;

use super::Progress;
use super::ground::connect;
use super::machine::Machine;
use super::members::{self, Member};
use super::report::{Phase, Report, of_phases};
use super::rig::{Rig, Work};
use crate::boot::{Database, Prepared};
use crate::config::Config;
use crate::simulator::numbered_token;

const FOREIGN: &str = include_str!("sql/foreign.sql");

/// Run the engine once over the teams of a platform
///
/// Migrates the database when it must, adds teams 1 to N with the tokens that the template makes
/// of their numbers, asks the platform whose accounts they open, and reads every team's complete listing once. The tables stay, so that their
/// rows can be compared. Request limits are lifted unless --platform-rate is given.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// The platform; any that answers the listing, errors included, as the real one does
    #[arg(long, value_name = "URL")]
    pub platform_url: String,
    /// The database that takes the rows
    #[arg(long, value_name = "URL")]
    pub database_url: SecretString,
    /// How many teams
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub teams: u32,
    /// The teams' tokens: `{}` or `{:06}` stands for a number
    #[arg(long, value_name = "TEMPLATE", default_value = crate::simulator::DEFAULT_TOKEN_TEMPLATE)]
    pub token_template: String,
    /// The number in the first team's token; without it 0 if that opens an account, else 1
    #[arg(long, value_name = "N")]
    pub first_token: Option<usize>,
    /// Requests per second to the platform; without it there is no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub platform_rate: Option<u32>,
}

impl PipelineArgs {
    /// Runs it until done or until `stop`, of which `None` tells.
    pub async fn run(
        &self,
        config: &Config,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        tokio::select! {
            result = self.measure(config, progress) => result.map(Some),
            () = stop => Ok(None),
        }
    }

    async fn measure(&self, config: &Config, progress: Progress<'_>) -> Result<Report> {
        // The parser's errors name the offending option, never its value.
        let parsed: PgConfig =
            self.database_url.expose_secret().parse().context("--database-url")?;
        let database = Database { config: parsed, cluster: None };
        progress("bringing the schema up to date");
        database.migrate().await?;
        let sql = connect(&database.config).await?;
        refuse_foreign(&sql).await?;
        let machine = Machine::look(Some(&sql)).await?;
        progress("adding the teams");
        let url = self.platform_url.trim_end_matches('/');
        let prepared = Prepared::over(config, &database).await?;
        let first = match self.first_token {
            Some(first) => first,
            None => members::first_number(&prepared.adapters, url, &self.token_template).await?,
        };
        let members = (0..self.teams as usize).map(|place| Member {
            team: TeamId(place as i64 + 1),
            token: numbered_token(&self.token_template, first + place).into(),
            owner_uid: None,
        });
        let rig = Rig::with_teams(config, &database, prepared, url, members.collect()).await?;
        progress("reading every team once");
        let (used, done) = rig.phase(Work::Full).await?;
        let items = rig.live_items().await?;
        rig.stop().await;
        let phase = Phase::new("pipeline", items, used, None, done);
        let title = format!("{} teams of {url}, once", self.teams);
        let parameters = json!({
            "teams": self.teams, "platform_url": url, "platform_rate": self.platform_rate,
            "first_token": first, "permits": config.limits.max_parallel_jobs,
        });
        Ok(of_phases("pipeline", &title, parameters, &[vec![phase]], machine))
    }
}

/// A database that somebody uses is not for measuring: the bench sets keys and due times.
async fn refuse_foreign(sql: &Client) -> Result<()> {
    let row = sql.query_one(FOREIGN, &[]).await?;
    let (teams, replicas): (i64, i64) = (row.get("teams"), row.get("replicas"));
    if replicas > 0 {
        bail!("a service runs on this database: give the bench one of its own");
    }
    if teams > 0 {
        bail!("{teams} teams of this database are not the bench's: give it one of its own");
    }
    Ok(())
}
