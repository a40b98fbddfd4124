//! What every handler shares: the engine, the ports it may ask, who may ask
//! it, and the limits of one process.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vz_sync_actors::domain::ScopeKey;
use vz_sync_actors::ports::credentials::Credentials;
use vz_sync_actors::ports::due_queue::DueQueue;
use vz_sync_actors::ports::job_bus::JobBus;
use vz_sync_actors::ports::lock::Lock;
use vz_sync_actors::ports::platform::Platform;
use vz_sync_actors::ports::reads::Reads;
use vz_sync_actors::ports::replicas::Replicas;
use vz_sync_actors::ports::store::Store;
use vz_sync_actors::ports::teams::Teams;

use super::auth::Verifier;
use super::engine::Engine;
use super::metrics::Metrics;
use super::slots::Slots;
use crate::config::Config;

/// A demand of one scope is passed on at most this often by one process; the
/// store has the real limit.
const DEMAND_MEMO: Duration = Duration::from_secs(1);
/// The memo forgets what is old once it has grown to this.
const DEMAND_MEMO_SIZE: usize = 4096;

/// The doors that the API goes through.
#[derive(Clone)]
pub struct ApiPorts {
    /// The mirror and the pipeline's state.
    pub reads: Arc<dyn Reads>,
    /// Decisions of people.
    pub store: Arc<dyn Store>,
    /// Who is mirrored.
    pub teams: Arc<dyn Teams>,
    /// Platform keys.
    pub credentials: Arc<dyn Credentials>,
    /// The platform, to check a new key.
    pub platform: Arc<dyn Platform>,
    /// For queue positions and depths.
    pub due_queue: Arc<dyn DueQueue>,
    /// For depths.
    pub job_bus: Arc<dyn JobBus>,
    /// For who holds a lock.
    pub lock: Arc<dyn Lock>,
    /// Who is alive.
    pub replicas: Arc<dyn Replicas>,
}

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// Longest body.
    pub body_limit: usize,
    /// Longest time to the answer's first byte.
    pub request_timeout: Duration,
    /// Longest time to a request's last header.
    pub header_timeout: Duration,
    /// Silence on an event stream before a comment breaks it.
    pub heartbeat: Duration,
    /// Event streams of this process.
    pub sse_clients: usize,
    /// Event streams of one subject.
    pub sse_clients_per_subject: usize,
    /// Manual triggers of one team.
    pub triggers_per_minute: u32,
    /// Least time between two demand runs of one scope.
    pub demand_interval: Duration,
    /// A heartbeat older than this marks a replica dead.
    pub dead_after: Duration,
}

impl ApiSettings {
    /// From the configuration.
    pub fn from_config(config: &Config) -> Self {
        let (http, limits) = (&config.http, &config.limits);
        Self {
            cors_origins: http.cors_origins.clone(),
            body_limit: http.body_limit_kib * 1024,
            request_timeout: http.request_timeout_seconds.into(),
            header_timeout: http.header_timeout_seconds.into(),
            heartbeat: http.sse_heartbeat_seconds.into(),
            sse_clients: limits.sse_clients,
            sse_clients_per_subject: limits.sse_clients_per_subject,
            triggers_per_minute: limits.triggers_per_team_per_minute,
            demand_interval: config.intervals.demand_seconds.into(),
            dead_after: config.replica.dead_after_seconds.into(),
        }
    }
}

/// Cheap to clone; all clones are the same API.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// What the clones of [`ApiState`] share.
pub struct Shared {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The ports.
    pub ports: ApiPorts,
    /// Who checks tokens; `None` refuses everybody.
    pub verifier: Option<Verifier>,
    /// Counters.
    pub metrics: Metrics,
    /// Limits.
    pub settings: ApiSettings,
    /// Room for event streams.
    pub slots: Slots,
    /// Ends every event stream when the service stops.
    pub stopping: CancellationToken,
    demands: Mutex<HashMap<ScopeKey, Instant>>,
}

impl ApiState {
    /// Bundles them.
    pub fn new(
        engine: Arc<dyn Engine>,
        ports: ApiPorts,
        verifier: Option<Verifier>,
        metrics: Metrics,
        settings: ApiSettings,
        stopping: CancellationToken,
    ) -> Self {
        let slots = Slots::new(
            settings.sse_clients,
            settings.sse_clients_per_subject,
            metrics.sse_clients.clone(),
        );
        let demands = Mutex::default();
        Self(Arc::new(Shared {
            engine,
            ports,
            verifier,
            metrics,
            settings,
            slots,
            stopping,
            demands,
        }))
    }

    /// Whether a demand for the scope may be passed on now; noted if so.
    pub fn may_demand(&self, key: ScopeKey) -> bool {
        let now = Instant::now();
        let mut demands = self.demands.lock().unwrap_or_else(PoisonError::into_inner);
        if demands.get(&key).is_some_and(|at| now - *at < DEMAND_MEMO) {
            return false;
        }
        if demands.len() >= DEMAND_MEMO_SIZE {
            demands.retain(|_, at| now - *at < DEMAND_MEMO);
        }
        demands.insert(key, now);
        true
    }
}

impl Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
