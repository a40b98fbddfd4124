//! Gives a run's lease and lock back when the run ends in any way that did
//! not settle it: a panic, an abort, a killed actor.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::domain::{RunId, ScopeKey};
use crate::ports::lock::Lock;
use crate::ports::signals::{Signal, Signals};
use crate::ports::store::Store;

/// Longest wait for the lock's server: it is only a hint.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Releases by run id on drop, unless disarmed.
pub(super) struct RunGuard {
    pub(super) store: Arc<dyn Store>,
    pub(super) lock: Arc<dyn Lock>,
    pub(super) signals: Arc<dyn Signals>,
    pub(super) key: ScopeKey,
    pub(super) run: RunId,
    pub(super) armed: bool,
}

impl RunGuard {
    /// The run was settled: only the lock is left to give back.
    pub(super) async fn settled(mut self) {
        self.armed = false;
        let release = self.lock.release(self.key, self.run);
        // Unreleased, the lock expires, or is taken over as a dead run's.
        let _ = tokio::time::timeout(LOCK_TIMEOUT, release).await;
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Without a runtime the process is ending: another replica finds the
        // lease of a dead owner.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, lock, signals) = (self.store.clone(), self.lock.clone(), self.signals.clone());
        let (key, run) = (self.key, self.run);
        runtime.spawn(async move {
            match store.release(run).await {
                Ok(released) => {
                    info!(event = "vz_sync_lease_released", team_id = key.team.0, scope = key.scope.as_str(), released, "an unsettled run gave its lease back");
                    signals.send(Signal::StatesDue);
                }
                Err(error) => {
                    warn!(event = "vz_sync_lease_release_failed", team_id = key.team.0, scope = key.scope.as_str(), error = %error, "the lease stays until it expires");
                }
            }
            let _ = tokio::time::timeout(LOCK_TIMEOUT, lock.release(key, run)).await;
        });
    }
}
