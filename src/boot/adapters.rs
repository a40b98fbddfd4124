//! Builds the adapters and hands them out as ports.
//!
//! Until the Redis and RabbitMQ adapters exist, the due queue, the lock and
//! both buses are the embedded ones: one replica, and nothing lost by that
//! but the sharing, since Postgres is the only truth.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};
use vz_sync_actors::domain::{FailureClass, ReplicaId};
use vz_sync_actors::embedded::limiter::Rates;
use vz_sync_actors::embedded::{
    EmbeddedDueQueue, EmbeddedEventBus, EmbeddedJobBus, EmbeddedLimiter, EmbeddedLock,
};
use vz_sync_actors::parts::{Measured, Ports};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::limiter::Limiter;
use vz_sync_actors::ports::platforms::Platforms;
use vz_sync_actors::ports::reads::Reads;
use vz_sync_actors::ports::store::{Intervals, Store};
use vz_sync_actors::ports::teams::Teams;

use super::BootError;
use super::database::Database;
use super::system::{SystemClock, SystemEntropy};
use crate::adapters::postgres::credentials::PgCredentials;
use crate::adapters::postgres::outbox::PgOutbox;
use crate::adapters::postgres::platforms::PgPlatforms;
use crate::adapters::postgres::pool::{PoolSizes, Pools};
use crate::adapters::postgres::reads::PgReads;
use crate::adapters::postgres::replicas::PgReplicas;
use crate::adapters::postgres::signals::PgSignals;
use crate::adapters::postgres::store::{PgStore, StoreSettings};
use crate::adapters::postgres::teams::PgTeams;
use crate::adapters::postgres::upkeep::PgUpkeep;
use crate::adapters::virtuozzo::{
    AddressPolicy, Gates, ResultCodes, Surroundings, VirtuozzoOptions, VirtuozzoPlatform,
};
use crate::config::{Config, ResultClass};
use crate::http::Metrics;
use crate::http::metrics::{MeteredPlatform, MeteredStore};
use crate::secrets::KeyRing;

/// The adapters of one process.
pub struct Adapters {
    /// What the engine goes through.
    pub ports: Ports,
    /// The API's queries.
    pub reads: Arc<dyn Reads>,
    /// Teams and rollout.
    pub teams: Arc<dyn Teams>,
    /// The client's view of the platforms' gates.
    pub gates: Arc<Gates>,
    /// The connection pools.
    pub pools: Pools,
}

impl Adapters {
    /// Builds them over an open, migrated database.
    pub async fn build(
        config: &Config,
        database: &Database,
        replica: ReplicaId,
        metrics: &Metrics,
    ) -> Result<Self, BootError> {
        let ring = key_ring(config)?;
        let size = config.database.pool_size.max(4);
        let sizes = PoolSizes {
            pipeline: size / 2,
            reads: size - size / 2,
            staging: config.limits.staging_connections,
        };
        let pools = Pools::open(&database.config, sizes)?;

        let dead_after = config.replica.dead_after_seconds.duration();
        let store = Arc::new(PgStore::new(
            pools.clone(),
            ring.clone(),
            StoreSettings {
                intervals: Intervals {
                    full: config.intervals.full_minutes.duration(),
                    delta: config.intervals.delta_minutes.duration(),
                },
                exhausted_wait: config.pipeline.backoff_cap_seconds.duration(),
                rejected_for: config.removal.reject_quiet_days.duration(),
            },
        ));
        let store: Arc<dyn Store> = Arc::new(MeteredStore::new(store, metrics.clone()));
        let platforms: Arc<dyn Platforms> = Arc::new(PgPlatforms::new(pools.pipeline.clone()));
        let limiter: Arc<dyn Limiter> = Arc::new(EmbeddedLimiter::new(
            Rates {
                platform: limit(config.limits.platform_requests_per_second),
                team: limit(config.limits.team_requests_per_second),
                ..Rates::default()
            },
            0,
        ));
        let gates = Arc::new(Gates::default());
        let raw_key = store.raw_version_key().await?;
        let platform = VirtuozzoPlatform::new(
            client_options(config),
            Surroundings {
                limiter: limiter.clone(),
                platforms: platforms.clone(),
                gates: gates.clone(),
                replica,
                observer: None,
            },
            &SecretSlice::from(raw_key.expose_secret().as_bytes().to_vec()),
        )
        .map_err(|error| BootError::Platform(error.to_string()))?;

        let ports = Ports {
            store,
            due_queue: Arc::new(EmbeddedDueQueue::new()),
            lock: Arc::new(EmbeddedLock::new()),
            job_bus: Arc::new(EmbeddedJobBus::new()),
            event_bus: Arc::new(EmbeddedEventBus::new()),
            signals: Arc::new(PgSignals::new(database.config.clone(), replica)),
            outbox: Arc::new(PgOutbox::new(pools.pipeline.clone())),
            replicas: Arc::new(PgReplicas::new(pools.pipeline.clone())),
            platforms,
            limiter,
            platform: Arc::new(MeteredPlatform::new(Arc::new(platform), metrics.clone())),
            credentials: Arc::new(PgCredentials::new(pools.pipeline.clone(), ring)),
            upkeep: Arc::new(PgUpkeep::new(pools.pipeline.clone())),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let reads = Arc::new(PgReads::new(
            pools.reads.clone(),
            dead_after,
            config.retention.changes_days.duration(),
        ));
        let teams = Arc::new(PgTeams::new(pools.pipeline.clone()));
        Ok(Self { ports, reads, teams, gates, pools })
    }
}

/// Zero is no limit. The check of a configuration refuses it; only a bench sets it.
fn limit(per_second: u32) -> Option<f64> {
    (per_second > 0).then(|| f64::from(per_second))
}

/// Keeps the client's gates as fresh as the engine's last look.
pub async fn follow_gates(gates: Arc<Gates>, measured: Arc<Measured>) {
    let mut looks = measured.watch_gates();
    loop {
        let seen = looks.borrow_and_update().clone();
        gates.refresh(&seen);
        if looks.changed().await.is_err() {
            return;
        }
    }
}

/// The key ring, which nothing runs without.
pub fn key_ring(config: &Config) -> Result<Arc<KeyRing>, BootError> {
    let keys = config.secrets.master_keys.as_ref().ok_or(BootError::NoMasterKeys)?;
    Ok(Arc::new(KeyRing::parse(keys).map_err(|error| BootError::Keys(error.to_string()))?))
}

/// Which addresses a platform may have.
pub fn address_policy(config: &Config) -> AddressPolicy {
    AddressPolicy {
        allowed_ranges: config.platform.allowed_private_ranges.clone(),
        allow_loopback_http: config.platform.allow_http_loopback,
    }
}

fn client_options(config: &Config) -> VirtuozzoOptions {
    let timeouts = &config.timeouts;
    let codes: BTreeMap<i64, FailureClass> = config
        .platform
        .result_codes
        .iter()
        .filter_map(|(code, class)| Some((*code, failure_class(*class)?)))
        .collect();
    VirtuozzoOptions {
        connect: timeouts.connect_seconds.duration(),
        first_byte: timeouts.first_byte_seconds.duration(),
        between_chunks: timeouts.between_chunks_seconds.duration(),
        total: timeouts.run_seconds.duration(),
        limiter_wait: Duration::from_secs(2),
        max_body: config.limits.max_body_bytes() as u64,
        circuit_threshold: config.platform.circuit_failures,
        circuit_open_for: config.platform.circuit_open_seconds.duration(),
        addresses: address_policy(config),
        codes: ResultCodes::default().overlay(codes),
        ..VirtuozzoOptions::default()
    }
}

/// `None` for what is no failure: an environment that is gone is an answer.
const fn failure_class(class: ResultClass) -> Option<FailureClass> {
    match class {
        ResultClass::Retryable => Some(FailureClass::Retryable),
        ResultClass::Throttled => Some(FailureClass::Throttled),
        ResultClass::Auth => Some(FailureClass::Auth),
        ResultClass::Capability => Some(FailureClass::Capability),
        ResultClass::Invalid => Some(FailureClass::Invalid),
        ResultClass::Gone => None,
    }
}

impl From<PortError> for BootError {
    fn from(error: PortError) -> Self {
        Self::Database(error.to_string())
    }
}
