//! The counters of this process, in a registry of their own, and the text
//! that `/metrics` serves.
//!
//! Jobs, rows and events are counted where they are committed: [`MeteredStore`]
//! wraps the store port, so each is counted once by the replica that did it.
//! Gauges of the fleet (staleness, queues) are computed when they are scraped.

mod metered_platform;
mod metered_store;
mod scrape;
mod text;

pub use metered_platform::MeteredPlatform;
pub use metered_store::MeteredStore;
pub use scrape::render;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Encoder, Error, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// The counters. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// `vz_sync_jobs_total{state,reason}`
    pub jobs: IntCounterVec,
    /// `vz_sync_duration_seconds{scope}`
    pub duration: HistogramVec,
    /// `vz_sync_rows_total{data_type,change}`
    pub rows: IntCounterVec,
    /// `vz_sync_platform_requests_total{method,class}`
    pub platform_requests: IntCounterVec,
    /// `vz_sync_events_total{type}`
    pub events: IntCounterVec,
    /// `vz_sync_sse_clients`
    pub sse_clients: IntGauge,
    /// `vz_sync_auth_violations_total{reason}`
    pub auth_violations: IntCounterVec,
    /// `vz_sync_http_requests_total{route,method,status}`
    pub http_requests: IntCounterVec,
    /// `vz_sync_http_duration_seconds{route}`
    pub http_duration: HistogramVec,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A counter that somebody else keeps.
#[derive(Clone)]
struct Watched {
    name: &'static str,
    help: &'static str,
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Runs take from a tenth of a second to the run's limit.
const RUN_BUCKETS: [f64; 12] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0];
/// Reads take from a fraction of a millisecond to the request's limit.
const HTTP_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

impl Metrics {
    /// Registers every counter with a fresh registry.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, Error>(counter)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(opts, labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, Error>(histogram)
        };
        let sse_clients = IntGauge::new("vz_sync_sse_clients", "Open event streams.")?;
        registry.register(Box::new(sse_clients.clone()))?;
        Ok(Self {
            jobs: counter(
                "vz_sync_jobs_total",
                "Jobs that ended or were put off, by the state they went to and why.",
                &["state", "reason"],
            )?,
            duration: histogram(
                "vz_sync_duration_seconds",
                "Runs from lease to commit or settlement.",
                &["scope"],
                &RUN_BUCKETS,
            )?,
            rows: counter(
                "vz_sync_rows_total",
                "Mirrored rows written, by what happened to them.",
                &["data_type", "change"],
            )?,
            platform_requests: counter(
                "vz_sync_platform_requests_total",
                "Calls to the platform by method and outcome.",
                &["method", "class"],
            )?,
            events: counter(
                "vz_sync_events_total",
                "Durable events committed by this replica.",
                &["type"],
            )?,
            auth_violations: counter(
                "vz_sync_auth_violations_total",
                "Requests refused for their token or role, and keys that the platform refused.",
                &["reason"],
            )?,
            http_requests: counter(
                "vz_sync_http_requests_total",
                "Requests answered.",
                &["route", "method", "status"],
            )?,
            http_duration: histogram(
                "vz_sync_http_duration_seconds",
                "Time to the head of the answer.",
                &["route"],
                &HTTP_BUCKETS,
            )?,
            sse_clients,
            registry,
            watched: Arc::default(),
        })
    }

    /// Shows a counter that is kept elsewhere; it is read when it is scraped.
    pub fn watch(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Watched { name, help, read: Arc::new(read) });
    }

    fn watched(&self) -> Vec<Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The registry's own families as text.
    fn encode(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|_| Error::Msg("metrics are not UTF-8".into()))
    }
}
