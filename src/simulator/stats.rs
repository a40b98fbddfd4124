//! What was asked of the simulator: counters for each method and the latest requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::world::lock;

/// How many requests are remembered one by one.
const REMEMBERED: usize = 4096;

/// Counters of one method.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodStats {
    /// Requests that arrived.
    pub requests: u64,
    /// Bytes of the bodies that went out.
    pub bytes_out: u64,
    /// Time spent answering, waiting included: what the calls cost the platform.
    pub busy_us: u64,
}

/// A snapshot of all counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsReport {
    /// Requests in all.
    pub requests: u64,
    /// Bytes of bodies in all.
    pub bytes_out: u64,
    /// Time spent answering in all.
    pub busy_us: u64,
    /// The most requests answered at the same time.
    pub concurrent_max: u64,
    /// By method, named as in the path: `getenvs`.
    pub methods: BTreeMap<String, MethodStats>,
}

/// One remembered request.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// When its head had been read.
    pub at: Instant,
    /// The method, named as in the path.
    pub method: &'static str,
    /// The account that its session opens, if it does.
    pub uid: Option<i64>,
}

/// The counters of a simulator.
pub struct Stats {
    methods: Mutex<BTreeMap<&'static str, MethodStats>>,
    recent: Mutex<VecDeque<RequestRecord>>,
    running: AtomicU64,
    concurrent_max: AtomicU64,
    arrived: watch::Sender<u64>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            methods: Mutex::default(),
            recent: Mutex::default(),
            running: AtomicU64::new(0),
            concurrent_max: AtomicU64::new(0),
            arrived: watch::Sender::new(0),
        }
    }
}

/// A request being answered; it counts as running until this is dropped.
pub(crate) struct Running<'a> {
    stats: &'a Stats,
    method: &'static str,
    since: Instant,
}

impl Stats {
    /// All counters now.
    pub fn report(&self) -> StatsReport {
        let methods = lock(&self.methods);
        let sum = |field: fn(&MethodStats) -> u64| methods.values().map(field).sum();
        StatsReport {
            requests: sum(|method| method.requests),
            bytes_out: sum(|method| method.bytes_out),
            busy_us: sum(|method| method.busy_us),
            concurrent_max: self.concurrent_max.load(Ordering::Relaxed),
            methods: methods
                .iter()
                .map(|(name, stats)| ((*name).to_owned(), stats.clone()))
                .collect(),
        }
    }

    /// How often a method was called.
    pub fn requests(&self, method: &str) -> u64 {
        lock(&self.methods).get(method).map_or(0, |stats| stats.requests)
    }

    /// The latest requests, oldest first.
    pub fn recent(&self) -> Vec<RequestRecord> {
        lock(&self.recent).iter().cloned().collect()
    }

    /// Sets all counters to zero. Requests being answered still count as running.
    pub fn reset(&self) {
        lock(&self.methods).clear();
        lock(&self.recent).clear();
        self.concurrent_max.store(self.running.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Waits until `method` was called at least `count` times.
    pub async fn wait_for(&self, method: &str, count: u64) {
        let mut arrived = self.arrived.subscribe();
        while self.requests(method) < count {
            if arrived.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn begin(&self, method: &'static str, uid: Option<i64>) -> Running<'_> {
        let since = Instant::now();
        lock(&self.methods).entry(method).or_default().requests += 1;
        {
            let mut recent = lock(&self.recent);
            if recent.len() == REMEMBERED {
                recent.pop_front();
            }
            recent.push_back(RequestRecord { at: since, method, uid });
        }
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.concurrent_max.fetch_max(running, Ordering::Relaxed);
        self.arrived.send_modify(|arrived| *arrived += 1);
        Running { stats: self, method, since }
    }
}

impl Running<'_> {
    pub(crate) fn sent(&self, bytes: u64) {
        lock(&self.stats.methods).entry(self.method).or_default().bytes_out += bytes;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.stats.running.fetch_sub(1, Ordering::Relaxed);
        let busy = self.since.elapsed().min(Duration::from_hours(24)).as_micros() as u64;
        lock(&self.stats.methods).entry(self.method).or_default().busy_us += busy;
    }
}
