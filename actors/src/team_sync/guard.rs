//! Gives a run's lease and lock back when the run ends in any way that did
//! not settle it: a panic, an abort, a killed actor. It is armed before the
//! lease is asked for, so that a grant whose answer nobody hears counts too.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{Instrument as _, info, warn};

use crate::domain::{RunId, ScopeKey};
use crate::parts::Parts;
use crate::ports::lock::Lock;
use crate::ports::signals::{Signal, Signals};
use crate::ports::store::{LeaseAnswer, LeaseAsk, Store};
use crate::ports::{PortError, PortResult};

/// Longest wait for the lock's server: it is only a hint.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Releases by run id on drop, unless disarmed.
pub(super) struct RunGuard {
    store: Arc<dyn Store>,
    lock: Arc<dyn Lock>,
    signals: Arc<dyn Signals>,
    key: ScopeKey,
    run: RunId,
    /// The call that may lease to this run, while its answer is awaited.
    asking: Option<JoinHandle<PortResult<LeaseAnswer>>>,
    armed: bool,
}

impl RunGuard {
    /// Armed for whatever this run will be granted.
    pub(super) fn new(parts: &Parts, key: ScopeKey, run: RunId) -> Self {
        let ports = &parts.ports;
        Self {
            store: ports.store.clone(),
            lock: ports.lock.clone(),
            signals: ports.signals.clone(),
            key,
            run,
            asking: None,
            armed: true,
        }
    }

    /// Asks for the lease, in a task of its own: a call that is under way when
    /// the run is aborted may still be granted, so it is heard to its end and
    /// only then released.
    pub(super) async fn lease(&mut self, ask: LeaseAsk) -> PortResult<LeaseAnswer> {
        let store = self.store.clone();
        let call = async move { store.lease(&ask).await };
        let answer = self.asking.insert(tokio::spawn(call.in_current_span())).await;
        self.asking = None;
        match answer {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => {
                Err(PortError::OutcomeUnknown { service: "store", message: error.to_string() })
            }
        }
    }

    /// Nothing was leased.
    pub(super) fn disarm(mut self) {
        self.armed = false;
    }

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
        let (key, run, asking) = (self.key, self.run, self.asking.take());
        runtime.spawn(async move {
            if let Some(asking) = asking {
                // However it ended: the release below finds what it granted.
                let _ = asking.await;
            }
            match store.release(run).await {
                Ok(false) => {}
                Ok(true) => {
                    info!(event = "vz_sync_lease_released", team_id = key.team.0, scope = key.scope.as_str(), "an unsettled run gave its lease back");
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
