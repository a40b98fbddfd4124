//! `bench pickup`: from somebody's trigger to the platform's first sight of a request.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secrecy::SecretString;
use serde_json::json;
use vz_sync_actors::domain::{Class, Mode, Scope, TeamId};
use vz_sync_actors::ports::signals::{Heard, Signal};
use vz_sync_actors::ports::store::{Requested, SyncRequest};

use super::Progress;
use super::ground::Ground;
use super::latency::{Latency, micros};
use super::machine::Machine;
use super::members::Member;
use super::report::Report;
use super::rig::Rig;
use super::sync::at_least_one;
use crate::config::Config;
use crate::simulator::{self, SimulatorOptions};

/// How long a single run may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measure the time from a trigger to the first request that the platform sees
///
/// Triggers come one after another on an idle system, each for the next team.
#[derive(Debug, Clone, Args)]
pub struct PickupArgs {
    /// Triggers
    #[arg(long, default_value_t = 500, value_parser = at_least_one)]
    pub triggers: usize,
    /// Teams that take turns
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    pub teams: usize,
    /// Milliseconds of rest after each run
    #[arg(long, default_value_t = 20, value_name = "MS")]
    pub rest_ms: u64,
    /// Server to make a scratch database in; without it a private one in a temporary directory
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
}

impl PickupArgs {
    /// Runs it until done or until `stop`, of which `None` tells. Leaves nothing behind.
    pub async fn run(
        &self,
        config: &Config,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        progress("starting the database");
        Ground::with(self.database_url.as_ref(), stop, async |ground| {
            self.measure(config, ground, progress).await
        })
        .await
    }

    async fn measure(
        &self,
        config: &Config,
        ground: &mut Ground,
        progress: Progress<'_>,
    ) -> Result<Report> {
        let database = ground.fresh().await?;
        // In this process, because its clock must be the trigger's; it does next to nothing.
        let platform = simulator::start(SimulatorOptions {
            wide: true,
            ..SimulatorOptions::uniform(self.teams, 2, 2)
        })
        .await?;
        platform.world().warm();
        let members = (1..=self.teams).map(Member::simulated);
        let rig = Rig::start(config, &database, &platform.base_url(), members.collect()).await?;
        let machine = Machine::look(Some(rig.sql())).await?;
        let mut times = Vec::with_capacity(self.triggers);
        for number in 0..self.triggers {
            if number % 50 == 0 {
                progress(&format!("trigger {number} of {}", self.triggers));
            }
            let team = number % self.teams + 1;
            let at = self.once(&rig, &platform, team).await?;
            times.push(micros(at));
            tokio::time::sleep(Duration::from_millis(self.rest_ms)).await;
        }
        rig.stop().await;
        platform.shutdown().await;
        let latency = Latency::of_micros(times);
        let machine = machine.at_end();
        let text = format!(
            "trigger to first platform request, idle system\n{}\n\n{}\n",
            machine.line(),
            latency.text()
        );
        let json = json!({
            "bench": "pickup", "latency": latency,
            "parameters": {"triggers": self.triggers, "teams": self.teams, "rest_ms": self.rest_ms},
            "machine": machine,
        });
        Ok(Report { json, text })
    }

    /// One trigger; ends when its run has ended.
    async fn once(
        &self,
        rig: &Rig,
        platform: &simulator::Simulator,
        team: usize,
    ) -> Result<Duration> {
        let handle = rig.handle();
        let mut listener = handle.ports().signals.listen();
        platform.stats().reset();
        let request = SyncRequest {
            team: TeamId(team as i64),
            scopes: vec![Scope::Environments],
            class: Class::Manual,
            mode: Some(Mode::Full),
            environments: Vec::new(),
            requested_by: "bench".into(),
            trace_parent: None,
            demand_interval: Duration::ZERO,
            idempotency: None,
            per_minute: None,
        };
        let began = Instant::now();
        match handle.trigger(&request).await? {
            Requested::Accepted(_) => {}
            refused => bail!("the trigger was not taken: {refused:?}"),
        }
        let ended = async {
            loop {
                match listener.next().await {
                    Heard::Signal(Signal::Outbox(ended)) if ended == request.team => return Ok(()),
                    Heard::Closed => bail!("the signals ended before the run did"),
                    Heard::Signal(_) | Heard::Lagged => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .with_context(|| format!("the run of team {team} has not ended"))??;
        let first = platform.stats().recent().first().map(|request| request.at);
        let first = first.with_context(|| format!("the run of team {team} asked for nothing"))?;
        Ok(first.saturating_duration_since(began))
    }
}
