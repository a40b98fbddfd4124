//! Counters and histograms by actor kind, fed by every mailbox and host of one roster.
//!
//! Labels are an actor's kind and a message's name, never a key: their number is fixed by the
//! code. Rendering for Prometheus is left to the edges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::view::ExitCause;

/// Upper bounds of the histogram buckets, in seconds; one more bucket catches the rest.
pub const BUCKETS: [f64; 12] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 150.0];

/// What the actors of one roster did so far. `BTreeMap`s, so that two snapshots compare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RosterMetrics {
    /// By actor kind.
    pub kinds: BTreeMap<&'static str, KindMetrics>,
}

/// The figures of one actor kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KindMetrics {
    /// Messages waiting now, over all live actors of the kind.
    pub depth: usize,
    /// How long messages waited before they were handled.
    pub wait: HistogramSnapshot,
    /// How long messages were worked on, by message name.
    pub handle: BTreeMap<&'static str, HistogramSnapshot>,
    /// Restarts by the cause of the exit before.
    pub restarts: BTreeMap<&'static str, u64>,
    /// Messages refused: mailbox full, actor down or stopped, no room in the pool.
    pub rejected: u64,
}

/// A histogram at one moment. `counts` are per bucket, not cumulative, with one more than
/// [`BUCKETS`] for everything above the last bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Observations per bucket.
    pub counts: Vec<u64>,
    /// All observations.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_seconds: f64,
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn snapshot(&self) -> HistogramSnapshot {
        let counts: Vec<u64> = self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        HistogramSnapshot {
            count: counts.iter().sum(),
            sum_seconds: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6,
            counts,
        }
    }
}

/// The live counters of one kind; shared by all its actors, so a passivated actor's figures stay.
#[derive(Debug, Default)]
pub(super) struct KindCounters {
    pub(super) wait: Histogram,
    handle: Mutex<BTreeMap<&'static str, Arc<Histogram>>>,
    restarts: [AtomicU64; ExitCause::ALL.len()],
    rejected: AtomicU64,
}

impl KindCounters {
    pub(super) fn handled(&self, message: &'static str, duration: Duration) {
        let histogram = lock(&self.handle).entry(message).or_default().clone();
        histogram.observe(duration);
    }

    pub(super) fn restarted(&self, cause: ExitCause) {
        self.restarts[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> KindMetrics {
        let handle = lock(&self.handle).iter().map(|(name, h)| (*name, h.snapshot())).collect();
        let restarts = ExitCause::ALL
            .iter()
            .map(|cause| (*cause, self.restarts[*cause as usize].load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| (cause.as_str(), count))
            .collect();
        KindMetrics {
            depth: 0,
            wait: self.wait.snapshot(),
            handle,
            restarts,
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }
}

/// All kinds of one roster.
#[derive(Debug, Default)]
pub(super) struct Counters {
    kinds: Mutex<BTreeMap<&'static str, Arc<KindCounters>>>,
}

impl Counters {
    pub(super) fn kind(&self, kind: &'static str) -> Arc<KindCounters> {
        lock(&self.kinds).entry(kind).or_default().clone()
    }

    /// Everything but the depths, which only the roster can sum.
    pub(super) fn snapshot(&self) -> RosterMetrics {
        let kinds = lock(&self.kinds).iter().map(|(kind, c)| (*kind, c.snapshot())).collect();
        RosterMetrics { kinds }
    }
}
