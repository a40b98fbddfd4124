//! The real engine over a scratch database: no HTTP, everything else as a service has it.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, bail};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::Client;
use vz_sync_actors::domain::JobState;
use vz_sync_actors::engine::EngineHandle;
use vz_sync_actors::ports::signals::{Heard, Signal, SignalListener};

use super::ground::connect;
use super::members::{self, Member};
use super::meter::{Meter, Used};
use crate::boot::{Database, Pipeline, Prepared};
use crate::config::Config;
use crate::secrets::MasterKey;

const REST: &str = include_str!("sql/rest.sql");
/// Makes every enabled state due; `$1` says whether for a full.
pub const MAKE_DUE: &str = include_str!("sql/make_due.sql");
const ENDED: &str = include_str!("sql/ended.sql");
const COUNTS: &str = include_str!("sql/counts.sql");
const LIVE_ITEMS: &str = include_str!("sql/live_items.sql");

/// How long a phase may take before the bench gives up on it.
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at the jobs that no signal asked for.
const LOOK: Duration = Duration::from_millis(250);

/// Settings of a service under measurement: whoever gives them may change all others.
pub fn overrides() -> Result<Vec<(&'static str, String, &'static str)>> {
    let secret =
        || MasterKey::generate("bench").map(|key| key.to_entry().expose_secret().to_owned());
    let fixed = |key, value: &str| (key, value.to_owned(), "bench");
    Ok(vec![
        ("secrets.master_keys", secret()?, "bench"),
        ("auth.jwt_secret", secret()?, "bench"),
        fixed("pipeline.enabled", "true"),
        fixed("rollout.percent", "100"),
        fixed("platform.allow_http_loopback", "true"),
        // Nothing is due by itself while a phase runs.
        fixed("intervals.full_minutes", "10080"),
        fixed("intervals.delta_minutes", "1440"),
        fixed("log.filter", "warn"),
    ])
}

/// Lifts the request limits, or sets that of the platform.
pub fn limit_requests(config: &mut Config, platform_rate: Option<u32>) {
    config.limits.platform_requests_per_second = platform_rate.unwrap_or(0);
    config.limits.team_requests_per_second = 0;
}

/// What every team does in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The complete listing.
    Full,
    /// What may have changed.
    Delta,
}

/// What the jobs of a phase did, in rows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Done {
    /// Jobs that succeeded.
    pub jobs: i64,
    /// Of these, runs that read the complete listing.
    pub full_runs: i64,
    /// New rows.
    pub inserted: i64,
    /// Rows that differed.
    pub updated: i64,
    /// Rows that were equal.
    pub unchanged: i64,
    /// Rows newly missing.
    pub missing: i64,
    /// Rows confirmed gone.
    pub stale: i64,
}

/// A running engine with its teams and its meter.
pub struct Rig {
    pipeline: Pipeline,
    meter: Meter,
    teams: usize,
}

impl Rig {
    /// Adds the teams and starts the engine, with nothing due yet.
    pub async fn start(
        config: &Config,
        database: &Database,
        platform_url: &str,
        members: Vec<Member>,
    ) -> Result<Self> {
        let prepared = Prepared::over(config, database).await?;
        Self::with_teams(config, database, prepared, platform_url, members).await
    }

    /// The same over adapters that are there already.
    pub async fn with_teams(
        config: &Config,
        database: &Database,
        prepared: Prepared,
        platform_url: &str,
        members: Vec<Member>,
    ) -> Result<Self> {
        let teams = members.len();
        members::add(&prepared.adapters, platform_url, members).await?;
        connect(&database.config).await?.batch_execute(REST).await?;
        Self::launch(config, database, prepared, teams).await
    }

    /// Starts the engine over teams that are in the database already.
    pub async fn launch(
        config: &Config,
        database: &Database,
        prepared: Prepared,
        teams: usize,
    ) -> Result<Self> {
        let meter = Meter::new(&database.config, prepared.adapters.pools.clone()).await?;
        let pipeline = Pipeline::start(config, prepared).await?;
        let rig = Self { pipeline, meter, teams };
        rig.wait_until_alive().await?;
        Ok(rig)
    }

    /// The way in.
    pub fn handle(&self) -> EngineHandle {
        self.pipeline.handle()
    }

    /// A session for questions.
    pub const fn sql(&self) -> &Client {
        self.meter.sql()
    }

    /// Environments and nodes of the mirror that are not stale.
    pub async fn live_items(&self) -> Result<i64> {
        Ok(self.sql().query_one(LIVE_ITEMS, &[]).await?.get(0))
    }

    /// Makes every team due and waits until each has ended well.
    pub async fn phase(&self, work: Work) -> Result<(Used, Done)> {
        let (used, last) = self.round(work, JobState::Succeeded).await?;
        Ok((used, self.done(last).await?))
    }

    /// Makes every team due and waits until the job of each is in the state `end`. Answers the
    /// last job before.
    pub async fn round(&self, work: Work, end: JobState) -> Result<(Used, i64)> {
        let last = self.last_job().await?;
        let handle = self.handle();
        let mut listener = handle.ports().signals.listen();
        let running = self.meter.begin().await?;
        self.sql().execute(MAKE_DUE, &[&(work == Work::Full)]).await?;
        handle.nudge();
        self.wait_for_ends(last, end, &mut *listener).await?;
        Ok((self.meter.end(running.stop()).await?, last))
    }

    /// The newest job there is.
    pub async fn last_job(&self) -> Result<i64> {
        let last = "SELECT coalesce(max(id), 0) FROM vz_sync_jobs";
        Ok(self.sql().query_one(last, &[]).await?.get(0))
    }

    /// Stops the engine.
    pub async fn stop(self) {
        self.pipeline.shutdown().await;
    }

    /// A replica that has not told of itself yet may send no requests.
    async fn wait_until_alive(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut look = interval(Duration::from_millis(5));
        while self.handle().measured().fleet().is_none() {
            look.tick().await;
            if Instant::now() > deadline {
                bail!("the engine has written no heartbeat for 30 s");
            }
        }
        Ok(())
    }

    /// Runs tell when they end; the jobs themselves are looked at once every team has told, and
    /// now and then in case that word was lost.
    async fn wait_for_ends(
        &self,
        last: i64,
        end: JobState,
        listener: &mut dyn SignalListener,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = HashSet::new();
        let failed = self.pipeline.failed();
        tokio::pin!(failed);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                failure = &mut failed => bail!("the engine gave up: {failure}"),
                heard = listener.next() => match heard {
                    Heard::Signal(Signal::Outbox(team)) => {
                        told.insert(team);
                        if told.len() < self.teams {
                            continue;
                        }
                    }
                    Heard::Signal(_) => continue,
                    Heard::Lagged => {}
                    Heard::Closed => bail!("the signals ended before the jobs did"),
                },
            }
            let row = self.sql().query_one(ENDED, &[&last, &end.as_str()]).await?;
            let (ended, failed): (i64, i64) = (row.get("ended"), row.get("failed"));
            let error = || row.get::<_, Option<String>>("error").unwrap_or_default();
            if failed > 0 {
                bail!("{failed} of {} jobs did not end well: {}", self.teams, error());
            }
            if ended >= self.teams as i64 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{ended} of {} jobs had ended after {PATIENCE:?}: {}", self.teams, error());
            }
        }
    }

    async fn done(&self, last: i64) -> Result<Done> {
        let row = self.sql().query_one(COUNTS, &[&last]).await?;
        let partial: i64 = row.get("partial");
        if partial > 0 {
            bail!("{partial} listings were partial: the platform's answers were not all read");
        }
        Ok(Done {
            jobs: row.get("jobs"),
            full_runs: row.get("full_runs"),
            inserted: row.get("inserted"),
            updated: row.get("updated"),
            unchanged: row.get("unchanged"),
            missing: row.get("missing"),
            stale: row.get("stale"),
        })
    }
}
