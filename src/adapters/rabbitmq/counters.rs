//! What the adapters count, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counted since the process started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) published: Count,
    pub(super) returned: Count,
    pub(super) refused: Count,
    pub(super) unknown: Count,
    pub(super) dead_lettered: Count,
    pub(super) asserted: Count,
    pub(super) connected: Count,
    pub(super) blocked: Count,
}

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn read(&self) -> RabbitCounts {
        RabbitCounts {
            published: self.published.get(),
            returned: self.returned.get(),
            refused: self.refused.get(),
            unknown: self.unknown.get(),
            dead_lettered: self.dead_lettered.get(),
            asserted: self.asserted.get(),
            connected: self.connected.get(),
            blocked: self.blocked.get(),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RabbitCounts {
    /// Publishes that were confirmed and routed.
    pub published: u64,
    /// Publishes that came back because no queue was bound.
    pub returned: u64,
    /// Publishes that a queue did not take.
    pub refused: u64,
    /// Publishes of which nobody knows what became.
    pub unknown: u64,
    /// Deliveries that were set aside with a reason.
    pub dead_lettered: u64,
    /// Times the topology was asserted.
    pub asserted: u64,
    /// Connections made.
    pub connected: u64,
    /// Times the broker blocked a connection.
    pub blocked: u64,
}
