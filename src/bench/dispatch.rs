//! `bench dispatch`: jobs that find nothing to do, all the way through the durable pipeline.

use anyhow::Result;
use clap::Args;
use secrecy::SecretString;
use serde_json::json;
use vz_sync_actors::domain::JobState;

use super::Progress;
use super::ground::{Ground, connect, seed};
use super::machine::Machine;
use super::report::{Report, median};
use super::rig::{Rig, Work};
use super::sync::at_least_one;
use crate::boot::Prepared;
use crate::config::Config;

const SATISFIED: &str = include_str!("sql/satisfied.sql");

/// Measure no-op jobs per second through the durable pipeline
///
/// Each job is claimed, queued, published, delivered, leased, found fresh and settled in one
/// commit, without an event. Every job is another team's.
#[derive(Debug, Clone, Args)]
pub struct DispatchArgs {
    /// Jobs of a run
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    pub jobs: usize,
    /// Runs, of which medians are told
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    pub runs: usize,
    /// Jobs in hand at once
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    pub permits: usize,
    /// Server to make a scratch database in; without it a private one in a temporary directory
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
}

impl DispatchArgs {
    /// Runs it until done or until `stop`, of which `None` tells. Leaves nothing behind.
    pub async fn run(
        &self,
        config: &Config,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        progress("starting the database");
        let mut config = config.clone();
        config.limits.max_parallel_jobs = self.permits;
        Ground::with(self.database_url.as_ref(), stop, async |ground| {
            self.measure(&config, ground, progress).await
        })
        .await
    }

    async fn measure(
        &self,
        config: &Config,
        ground: &mut Ground,
        progress: Progress<'_>,
    ) -> Result<Report> {
        progress("making the teams");
        let database = ground.fresh().await?;
        let prepared = Prepared::over(config, &database).await?;
        let sql = connect(&database.config).await?;
        seed(&sql, self.jobs).await?;
        sql.batch_execute(SATISFIED).await?;
        let machine = Machine::look(Some(&sql)).await?;
        let rig = Rig::launch(config, &database, prepared, self.jobs).await?;
        let mut runs = Vec::with_capacity(self.runs);
        for run in 1..=self.runs {
            progress(&format!("run {run} of {}", self.runs));
            runs.push(rig.round(Work::Full, JobState::Obsolete).await?.0);
        }
        rig.stop().await;
        let machine = machine.at_end();
        let of = |field: fn(&super::meter::Used) -> f64| {
            median(&runs.iter().map(field).collect::<Vec<_>>())
        };
        let jobs = self.jobs as f64;
        let wall = of(|used| used.wall_s);
        let (cpu, postgres) =
            (of(|used| used.cpu_s), of(|used| used.postgres_cpu_s.unwrap_or(f64::NAN)));
        let text = format!(
            "{} no-op jobs, {} permits, medians of {}\n{}\n\n\
             {:.0} jobs/s; CPU us/job: engine {:.0}, Postgres {:.0}; rows written/job {:.1}, WAL bytes/job {:.0}\n",
            self.jobs,
            self.permits,
            self.runs,
            machine.line(),
            jobs / wall,
            cpu * 1e6 / jobs,
            postgres * 1e6 / jobs,
            of(|used| used.rows_written as f64) / jobs,
            of(|used| used.wal_bytes as f64) / jobs,
        );
        let json = json!({
            "bench": "dispatch", "jobs_per_s": jobs / wall, "wall_s": wall, "cpu_s": cpu,
            "postgres_cpu_s": postgres.is_finite().then_some(postgres),
            "parameters": {"jobs": self.jobs, "permits": self.permits, "runs": self.runs},
            "machine": machine, "runs": runs,
        });
        Ok(Report { json, text })
    }
}
