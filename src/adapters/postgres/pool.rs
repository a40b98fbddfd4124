//! Connection pools: small, separate, and quick to refuse.
//!
//! Each role has a pool of its own, so that a flood of reads cannot starve a
//! commit, and a big load cannot starve either. A caller that gets no
//! connection in time is told so instead of waiting in a queue nobody sees.
//! Nobody holds two connections at once.

use std::time::Duration;

use deadpool_postgres::{Hook, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use vz_sync_actors::ports::{PortError, PortResult};

use super::connect::Connector;

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
/// Longest statement of a read, whatever the pipeline's may take.
const LONGEST_READ: Duration = Duration::from_secs(5);
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

    /// Longest statement, of which `pipeline` is the pipeline's. A reader does not
    /// wait that long; a batch of COPY may take longer.
    fn statement(self, pipeline: Duration) -> Duration {
        match self {
            Self::Pipeline => pipeline,
            Self::Reads => pipeline.min(LONGEST_READ),
            Self::Staging => pipeline * 2,
        }
    }

    /// Longest wait for a lock, and longest idling in a transaction, in seconds.
    const fn patience(self) -> (u32, u32) {
        match self {
            Self::Pipeline => (10, 30),
            Self::Reads => (1, 10),
            Self::Staging => (10, 120),
        }
    }

    /// Session settings. The server goes on with a query whose caller is gone,
    /// so it must know itself when to stop. jit costs more than it saves on
    /// statements of a few milliseconds.
    fn options(self, pipeline: Duration) -> String {
        let statement = self.statement(pipeline).as_millis();
        let (lock, idle) = self.patience();
        format!(
            "-c statement_timeout={statement}ms -c lock_timeout={lock}s \
             -c idle_in_transaction_session_timeout={idle}s -c jit=off -c timezone=UTC"
        )
    }
}

impl Pools {
    /// Makes the pools; connections are opened when they are needed.
    pub fn open(at: impl Into<Connector>, sizes: PoolSizes) -> PortResult<Self> {
        let at = at.into();
        Ok(Self {
            pipeline: open(&at, Role::Pipeline, sizes.pipeline)?,
            reads: open(&at, Role::Reads, sizes.reads)?,
            staging: open(&at, Role::Staging, sizes.staging)?,
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
pub fn open(at: impl Into<Connector>, role: Role, size: usize) -> PortResult<Pool> {
    Pool::builder(manager(at.into(), role))
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

/// How connections of a role differ from others.
fn manager(at: Connector, role: Role) -> Manager {
    let mut config = at.config().clone();
    let mut options = role.options(at.longest_statement());
    // What the URL says itself comes later, and wins.
    if let Some(given) = config.get_options() {
        options = format!("{options} {given}");
    }
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
    Manager::from_connect(config, at, settings)
}
