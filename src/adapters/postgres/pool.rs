//! Connection pools: small, separate, and quick to refuse.
//!
//! Each role has a pool of its own, so that a flood of reads cannot starve a
//! commit, and a big load cannot starve either. A caller that gets no
//! connection in time is told so instead of waiting in a queue nobody sees.
//! Nobody holds two connections at once.
//!
//! Absent on purpose: TLS. [`manager`] is the one place where a connector is
//! chosen; until there is one, connections go to a unix socket or loopback.

use std::time::Duration;

use deadpool_postgres::{Hook, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};
use vz_sync_actors::ports::{PortError, PortResult};

/// The pools of one process.
#[derive(Debug, Clone)]
pub struct Pools {
    /// Claims, leases, applies, settlements.
    pub pipeline: Pool,
    /// The API's reads.
    pub reads: Pool,
    /// COPY into the staging table.
    pub staging: Pool,
}

/// How many connections each role may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSizes {
    /// For the pipeline.
    pub pipeline: usize,
    /// For reads.
    pub reads: usize,
    /// For staging.
    pub staging: usize,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { pipeline: 8, reads: 8, staging: 3 }
    }
}

/// What a pool's connections are for, which decides how long anything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Claims, leases, applies, settlements.
    Pipeline,
    /// The API's reads.
    Reads,
    /// COPY into the staging table.
    Staging,
}

/// How long a caller waits for a connection.
const WAIT: Duration = Duration::from_secs(2);
/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(5);

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "vz-sync pipeline",
            Self::Reads => "vz-sync reads",
            Self::Staging => "vz-sync staging",
        }
    }

    /// Session settings. The server goes on with a query whose caller is gone,
    /// so it must know itself when to stop. jit costs more than it saves on
    /// statements of a few milliseconds.
    const fn options(self) -> &'static str {
        match self {
            Self::Pipeline => {
                "-c statement_timeout=60s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s -c jit=off -c timezone=UTC"
            }
            Self::Reads => {
                "-c statement_timeout=5s -c lock_timeout=1s -c idle_in_transaction_session_timeout=10s -c jit=off -c timezone=UTC"
            }
            Self::Staging => {
                "-c statement_timeout=120s -c lock_timeout=10s -c idle_in_transaction_session_timeout=120s -c jit=off -c timezone=UTC"
            }
        }
    }
}

impl Pools {
    /// Makes the pools; connections are opened when they are needed.
    pub fn open(config: &Config, sizes: PoolSizes) -> PortResult<Self> {
        Ok(Self {
            pipeline: open(config, Role::Pipeline, sizes.pipeline)?,
            reads: open(config, Role::Reads, sizes.reads)?,
            staging: open(config, Role::Staging, sizes.staging)?,
        })
    }

    /// Closes every connection that is not in use, and those in use when they
    /// come back.
    pub fn close(&self) {
        for pool in [&self.pipeline, &self.reads, &self.staging] {
            pool.close();
        }
    }
}

/// One pool.
pub fn open(config: &Config, role: Role, size: usize) -> PortResult<Pool> {
    Pool::builder(manager(config, role))
        .max_size(size.max(1))
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(CONNECT))
        .recycle_timeout(Some(CONNECT))
        .runtime(Runtime::Tokio1)
        .pre_recycle(Hook::sync_fn(|client, _| {
            // A caller that was dropped inside a transaction leaves its ROLLBACK
            // queued; a closed connection must not be handed out at all.
            if client.is_closed() {
                Err(deadpool_postgres::HookError::message("the connection is closed"))
            } else {
                Ok(())
            }
        }))
        .build()
        .map_err(|error| PortError::Refused {
            service: "postgres",
            message: format!("the pool cannot be built: {error}"),
        })
}

/// How connections are made: the one place to choose a TLS connector.
fn manager(config: &Config, role: Role) -> Manager {
    let mut config = config.clone();
    let options = match config.get_options() {
        Some(given) => format!("{} {given}", role.options()),
        None => role.options().to_owned(),
    };
    config
        .application_name(role.name())
        .options(options)
        .connect_timeout(CONNECT)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(15))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(30));
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Manager::from_config(config, NoTls, settings)
}
