//! `bench pipeline`: the real engine once over any platform and any database, so that other
//! engines can be timed beside it on the same work.

use anyhow::{Context as _, Result};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio_postgres::Config as PgConfig;
use vz_sync_actors::domain::TeamId;

use super::Progress;
use super::ground::connect;
use super::machine::Machine;
use super::report::{Phase, Report, of_phases};
use super::rig::{Member, Rig, Work};
use crate::adapters::postgres::connect::Connector;
use crate::boot::Database;
use crate::config::Config;
use crate::simulator::numbered_token;

/// Run the engine once over the teams of a platform
///
/// Migrates the database when it must, adds teams 1 to N with the tokens that the template makes
/// of their numbers, and reads every team's complete listing once. The tables stay, so that their
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
    /// The number in the first team's token; the simulator counts from 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first_token: usize,
    /// Owner uid of the first team's account; the next team's is one more
    #[arg(long, value_name = "UID", default_value_t = 10_001)]
    pub first_uid: i64,
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
        let connector = Connector::new(parsed, None).context("--database-url")?;
        let database = Database { connector, cluster: None };
        progress("bringing the schema up to date");
        database.migrate().await?;
        let machine = Machine::look(Some(&connect(database.connector.config()).await?)).await?;
        progress("adding the teams");
        let members = (0..self.teams as usize).map(|place| Member {
            team: TeamId(place as i64 + 1),
            token: numbered_token(&self.token_template, self.first_token + place).into(),
            owner_uid: self.first_uid + place as i64,
        });
        let url = self.platform_url.trim_end_matches('/');
        let rig = Rig::start(config, &database, url, members.collect()).await?;
        progress("reading every team once");
        let (used, done) = rig.phase(Work::Full).await?;
        let items = rig.live_items().await?;
        rig.stop().await;
        let phase = Phase::new("pipeline", items, used, None, done);
        let title = format!("{} teams of {url}, once", self.teams);
        let parameters = json!({
            "teams": self.teams, "platform_url": url, "platform_rate": self.platform_rate,
            "permits": config.limits.max_parallel_jobs,
        });
        Ok(of_phases("pipeline", &title, &parameters, &[vec![phase]], machine))
    }
}
