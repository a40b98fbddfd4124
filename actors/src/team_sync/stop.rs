//! How a run in hand is told to stop.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Why a run should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopWhy {
    /// An operator wants it to.
    Cancelled(String),
    /// This replica is stopping: another one goes on.
    HandBack,
}

/// Tells a run to stop; the first reason counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Stopper {
    token: CancellationToken,
    why: Arc<Mutex<Option<StopWhy>>>,
    doubt: Arc<Notify>,
}

impl Stopper {
    /// Tells the run to stop. It settles its job first.
    pub(super) fn stop(&self, why: StopWhy) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.token.cancel();
    }

    /// Tells the run that its lease may have been taken away. It asks the store
    /// instead of believing it.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Resolves once for all doubts since the last time.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Resolves once the run should stop.
    pub(super) async fn stopped(&self) -> StopWhy {
        self.token.cancelled().await;
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        why.unwrap_or(StopWhy::HandBack)
    }
}
