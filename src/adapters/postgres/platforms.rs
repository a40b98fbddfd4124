//! The platforms port: circuit, throttling and the probe slot that all
//! replicas share. Each transition is one conditional UPDATE by the database's
//! clock, so two replicas can never both win one.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use vz_sync_actors::domain::{PlatformId, ReplicaId};
use vz_sync_actors::ports::platforms::{Circuit, PlatformGate, Platforms};
use vz_sync_actors::ports::{PortError, PortResult};

use super::call::{Params, execute, get, moment, refused, row, rows};

const GATES: &str = include_str!("sql/gates.sql");
const CONNECTION_FAILED: &str = include_str!("sql/connection_failed.sql");
const ANSWERED: &str = include_str!("sql/answered.sql");
const THROTTLED: &str = include_str!("sql/throttled.sql");
const TAKE_PROBE: &str = include_str!("sql/take_probe.sql");

/// A probe that has told nothing for this long is lost with its replica, and
/// another may be taken. Longer than any connection takes to fail; a platform
/// that is connected but slow gets a second probe, which does no harm.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// The platforms' rows in Postgres.
#[derive(Debug, Clone)]
pub struct PgPlatforms {
    pool: Pool,
}

impl PgPlatforms {
    /// Keeps them through `pool`.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Platforms for PgPlatforms {
    async fn gates(&self) -> PortResult<Vec<PlatformGate>> {
        rows(&self.pool, GATES, &[])
            .await?
            .iter()
            .map(|row| {
                let circuit = match get(row, "circuit_state")? {
                    "closed" => Circuit::Closed,
                    "open" => Circuit::Open,
                    "half_open" => Circuit::HalfOpen,
                    other => return Err(refused(format!("unknown circuit state {other:?}"))),
                };
                Ok(PlatformGate {
                    platform: PlatformId(get(row, "id")?),
                    base_url: get(row, "base_url")?,
                    circuit,
                    consecutive_failures: get::<i32>(row, "consecutive_failures")?.unsigned_abs(),
                    open_until: moment(row, "open_until")?,
                    last_error: get(row, "last_error")?,
                    throttled_for: get::<Option<f64>>(row, "throttled_seconds")?
                        .map_or(Duration::ZERO, Duration::from_secs_f64),
                })
            })
            .collect()
    }

    async fn connection_failed(
        &self,
        platform: PlatformId,
        threshold: u32,
        open_for: Duration,
        why: &str,
    ) -> PortResult<bool> {
        let threshold = i32::try_from(threshold).unwrap_or(i32::MAX);
        let params: &Params<'_> = &[&platform.0, &threshold, &open_for.as_secs_f64(), &why];
        row(&self.pool, CONNECTION_FAILED, params)
            .await?
            .map_or_else(|| Err(unknown(platform)), |row| get(&row, "open"))
    }

    async fn answered(&self, platform: PlatformId) -> PortResult<()> {
        execute(&self.pool, ANSWERED, &[&platform.0]).await?;
        Ok(())
    }

    async fn throttled(&self, platform: PlatformId, wait: Duration) -> PortResult<()> {
        match execute(&self.pool, THROTTLED, &[&platform.0, &wait.as_secs_f64()]).await? {
            0 => Err(unknown(platform)),
            _ => Ok(()),
        }
    }

    async fn take_probe(&self, platform: PlatformId, replica: ReplicaId) -> PortResult<bool> {
        let limit = PROBE_LIMIT.as_secs_f64();
        Ok(execute(&self.pool, TAKE_PROBE, &[&platform.0, &replica.0, &limit]).await? > 0)
    }
}

fn unknown(platform: PlatformId) -> PortError {
    PortError::NotFound(format!("platform {platform}"))
}
