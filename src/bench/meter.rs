//! What a phase costs: readings before it and after it, and their difference.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use deadpool_postgres::Pool;
use serde::Serialize;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config as PgConfig};

use super::ground::connect;
use super::procfs;
use crate::adapters::postgres::pool::Pools;

const WRITTEN: &str = include_str!("sql/written.sql");
const WAL: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8";

/// Reads what the database and this process have used.
pub struct Meter {
    sql: Client,
    pools: Pools,
    /// The server, when it runs on this machine.
    postmaster: Option<u32>,
}

/// What was used between two readings.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Used {
    /// Time on the wall, in seconds.
    pub wall_s: f64,
    /// User and system time of this process, in seconds.
    pub cpu_s: f64,
    /// The same of the database server with all its processes; unknown when it runs elsewhere.
    pub postgres_cpu_s: Option<f64>,
    /// The most memory that this process had resident, in megabytes of 10^6 bytes.
    pub peak_rss_mb: f64,
    /// Rows inserted, updated and deleted in all tables.
    pub rows_written: i64,
    /// The same by table; tables without a write are left out.
    pub rows_by_table: BTreeMap<String, i64>,
    /// Bytes of write-ahead log.
    pub wal_bytes: i64,
}

/// An open measurement.
pub struct Running {
    rows: BTreeMap<String, i64>,
    wal: i64,
    postgres: Option<f64>,
    own: f64,
    began: Instant,
}

/// The process's side of a measurement, taken at its very end.
pub struct Stopped {
    running: Running,
    wall: Duration,
    cpu_s: f64,
    peak_rss_mb: f64,
}

impl Meter {
    /// A meter with a session of its own beside those of `pools`.
    pub async fn new(config: &PgConfig, pools: Pools) -> Result<Self> {
        let sql = connect(config).await?;
        let postmaster = if is_local(config) { postmaster(&sql).await? } else { None };
        Ok(Self { sql, pools, postmaster })
    }

    /// The session, for questions about what was measured.
    pub const fn sql(&self) -> &Client {
        &self.sql
    }

    /// Begins a measurement. Its clock starts last.
    pub async fn begin(&self) -> Result<Running> {
        let rows = self.written().await?;
        tokio::time::sleep(procfs::REAPED).await;
        let wal = self.wal().await?;
        let postgres = self.postmaster.and_then(procfs::family_cpu_s);
        procfs::reset_peak_rss();
        let own = procfs::own_cpu_s();
        Ok(Running { rows, wal, postgres, own, began: Instant::now() })
    }

    /// Ends it: what the database used is read once its ended sessions are counted.
    pub async fn end(&self, stopped: Stopped) -> Result<Used> {
        let Stopped { running, wall, cpu_s, peak_rss_mb } = stopped;
        tokio::time::sleep(procfs::REAPED).await;
        let postgres = self.postmaster.and_then(procfs::family_cpu_s);
        let wal = self.wal().await?;
        let mut rows = self.written().await?;
        rows.retain(|table, rows| {
            *rows -= running.rows.get(table).copied().unwrap_or(0);
            *rows != 0
        });
        Ok(Used {
            wall_s: wall.as_secs_f64(),
            cpu_s,
            postgres_cpu_s: postgres.zip(running.postgres).map(|(now, then)| now - then),
            peak_rss_mb,
            rows_written: rows.values().sum(),
            rows_by_table: rows,
            wal_bytes: wal - running.wal,
        })
    }

    async fn wal(&self) -> Result<i64> {
        Ok(self.sql.query_one(WAL, &[]).await?.get(0))
    }

    /// A session tells the server's statistics of its writes only now and then; so every session
    /// that may have written is asked to tell now.
    async fn written(&self) -> Result<BTreeMap<String, i64>> {
        for pool in [&self.pools.pipeline, &self.pools.reads, &self.pools.staging] {
            flush(pool).await?;
        }
        let rows = self.sql.query(WRITTEN, &[]).await?;
        Ok(rows.iter().map(|row| (row.get("name"), row.get("rows"))).collect())
    }
}

impl Running {
    /// Stops the clock.
    pub fn stop(self) -> Stopped {
        Stopped {
            wall: self.began.elapsed(),
            cpu_s: procfs::own_cpu_s() - self.own,
            peak_rss_mb: procfs::peak_rss_mb(),
            running: self,
        }
    }
}

/// Takes all open connections of a pool at once, or the same one would be asked every time.
async fn flush(pool: &Pool) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..pool.status().size {
        let client = pool.get().await?;
        client.query_one("SELECT pg_stat_force_next_flush()::text", &[]).await?;
        held.push(client);
    }
    Ok(())
}

fn is_local(config: &PgConfig) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// The parent of a session's process, if that is a Postgres that can be seen from here: a server
/// in a container may be reached over loopback and still have other process ids.
async fn postmaster(sql: &Client) -> Result<Option<u32>> {
    let backend: i32 = sql.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let is_postgres = |pid: &u32| procfs::name(*pid).is_some_and(|name| name == "postgres");
    Ok(u32::try_from(backend).ok().filter(is_postgres).and_then(procfs::parent).filter(is_postgres))
}
