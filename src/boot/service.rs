//! One running service: engine, API and admin listener over one database.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use uuid::Uuid;
use vz_sync_actors::domain::ReplicaId;
use vz_sync_actors::kit::TreeFailure;

use super::adapters::Adapters;
use super::pipeline::Pipeline;
use super::{BootError, Database};
use crate::adapters::postgres::seed;
use crate::config::Config;
use crate::http::admin::{self, AdminState};
use crate::http::auth::{AdminToken, Verifier};
use crate::http::server::{Limits, Server};
use crate::http::{ApiPorts, ApiSettings, ApiState, Metrics, router};

/// How long the root supervisor may take to answer a liveness probe.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Where a service listens.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// The API.
    pub api: SocketAddr,
    /// Probes, metrics and the actor tree.
    pub admin: SocketAddr,
}

/// A running service.
pub struct Service {
    /// Where it listens.
    pub listening: Listening,
    pipeline: Pipeline,
    stopping: CancellationToken,
    servers: Vec<JoinHandle<()>>,
}

/// Everything but the engine and the listeners: nothing runs yet.
pub struct Prepared {
    /// The adapters, for what must be done before the engine looks.
    pub adapters: Adapters,
    pub(super) replica: ReplicaId,
    metrics: Metrics,
}

impl Prepared {
    /// Builds the adapters over an open, migrated database.
    pub async fn over(config: &Config, database: &Database) -> Result<Self, BootError> {
        let replica = ReplicaId(Uuid::new_v4());
        let metrics = Metrics::new().map_err(|error| BootError::Api(error.to_string()))?;
        let adapters = Adapters::build(config, database, replica, &metrics).await?;
        // Only a service seeds: a command that ran first, with other settings,
        // must not decide who takes part.
        seed::seed(&adapters.pools.pipeline, config).await?;
        Ok(Self { adapters, replica, metrics })
    }
}

impl Service {
    /// Starts the engine and the listeners.
    pub async fn start(config: &Config, prepared: Prepared) -> Result<Self, BootError> {
        let (replica, metrics) = (prepared.replica, prepared.metrics.clone());
        // Bound before the engine starts: a port that is taken must not cost
        // a run.
        let api_server = bind("API", config.http.listen, config).await?;
        let admin_server = bind("admin listener", config.admin.listen, config).await?;
        let listening =
            Listening { api: local_addr(&api_server)?, admin: local_addr(&admin_server)? };

        let pipeline = Pipeline::start(config, prepared).await?;

        let stopping = CancellationToken::new();
        let api = ApiState::new(
            Arc::new(pipeline.handle()),
            api_ports(&pipeline.adapters),
            Verifier::from_config(&config.auth),
            metrics,
            ApiSettings::from_config(config),
            stopping.clone(),
        );
        let (public, _) = router::public(&api, Router::new())
            .map_err(|error| BootError::Api(error.to_string()))?;
        let pulse = pipeline.engine();
        let admin_state = AdminState {
            api,
            token: config.admin.token.as_ref().map(AdminToken::new),
            heartbeat: Arc::new(move || {
                let engine = pulse.clone();
                Box::pin(async move { engine.is_alive(HEARTBEAT).await })
            }),
        };
        let admin = admin::router(&admin_state, Router::new());
        let servers = vec![
            tokio::spawn(api_server.serve(public, stopping.clone())),
            tokio::spawn(admin_server.serve(admin, stopping.clone())),
        ];
        info!(event = "vz_sync_started", replica = %replica, listen = %listening.api, admin_listen = %listening.admin, "service is up");
        Ok(Self { listening, pipeline, stopping, servers })
    }

    /// Runs until `stop`, or until the engine gives up; then stops in order.
    /// Answers what the engine gave up over.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Option<TreeFailure> {
        let failed = self.pipeline.failed();
        let failure = tokio::select! {
            () = stop => None,
            failure = failed => {
                error!(event = "vz_sync_engine_failed", reason = %failure, "the engine gave up");
                Some(failure)
            }
        };
        self.shutdown().await;
        failure
    }

    /// Stops listening, hands runs back, and closes what was opened.
    pub async fn shutdown(self) {
        let Self { pipeline, stopping, servers, .. } = self;
        info!(event = "vz_sync_stopping", "service is stopping");
        stopping.cancel();
        for server in servers {
            let _ = server.await;
        }
        pipeline.shutdown().await;
        info!(event = "vz_sync_stopped", "service has stopped");
    }
}

fn api_ports(adapters: &Adapters) -> ApiPorts {
    let ports = &adapters.ports;
    ApiPorts {
        reads: adapters.reads.clone(),
        store: ports.store.clone(),
        teams: adapters.teams.clone(),
        credentials: ports.credentials.clone(),
        platform: ports.platform.clone(),
        due_queue: ports.due_queue.clone(),
        job_bus: ports.job_bus.clone(),
        lock: ports.lock.clone(),
        replicas: ports.replicas.clone(),
    }
}

async fn bind(
    what: &'static str,
    address: SocketAddr,
    config: &Config,
) -> Result<Server, BootError> {
    let limits = Limits {
        header_timeout: config.http.header_timeout_seconds.duration(),
        ..Limits::default()
    };
    Server::bind(address, limits).await.map_err(|error| BootError::Listen { what, address, error })
}

fn local_addr(server: &Server) -> Result<SocketAddr, BootError> {
    server.local_addr().map_err(|error| BootError::Api(error.to_string()))
}
