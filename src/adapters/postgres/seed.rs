//! What configuration tells the database at start.
//!
//! The rollout is filled once and then belongs to the people who change it.
//! Whether a process takes part in it at all is its own setting and not
//! stored: the rollout starts switched on.
//! The age limits follow the configuration at every start, so that SQL readers
//! judge freshness as the API does.

use deadpool_postgres::Pool;
use vz_sync_actors::domain::DataType;
use vz_sync_actors::ports::PortResult;

use super::call::{Work, connection};
use super::teams::ROLLOUT_SET;
use crate::config::Config;

const LIMITS: &str = include_str!("sql/freshness_limits.sql");

/// Fills the rollout if nothing has yet, and the age limits where they differ.
pub async fn seed(pool: &Pool, config: &Config) -> PortResult<()> {
    let rollout = &config.rollout;
    let percent = i16::from(rollout.percent.min(100));
    let staleness = &config.staleness;
    let types = DataType::ALL.map(DataType::as_str);
    let limits = DataType::ALL.map(|data_type| {
        let minutes = match data_type {
            DataType::Environments => staleness.environments_minutes,
            DataType::Nodes => staleness.nodes_minutes,
            DataType::ArchivedSites => staleness.archived_sites_minutes,
            DataType::JobLogs => staleness.job_logs_minutes,
        };
        i32::try_from(minutes.duration().as_secs()).unwrap_or(i32::MAX)
    });
    let mut client = connection(pool).await?;
    let work = Work::begin(&mut client).await?;
    let none = None::<&str>;
    // With 100 % everyone is in; the flag spares the hash.
    let everyone = percent == 100;
    work.run(
        ROLLOUT_SET,
        &[&true, &everyone, &rollout.teams, &rollout.cohorts, &percent, &true, &none],
    )
    .await?;
    work.run(LIMITS, &[&types.as_slice(), &limits.as_slice()]).await?;
    work.commit().await
}
