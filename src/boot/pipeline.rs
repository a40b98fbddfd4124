//! The engine over its adapters: all of a service but the listeners.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::warn;
use vz_sync_actors::engine::{Engine, EngineHandle};
use vz_sync_actors::kit::TreeFailure;

use super::adapters::{Adapters, follow_gates};
use super::service::Prepared;
use super::{BootError, settings};
use crate::config::Config;

/// A running engine with its adapters.
pub struct Pipeline {
    /// The adapters that it goes through.
    pub adapters: Adapters,
    engine: Arc<Engine>,
    gates: JoinHandle<()>,
}

impl Pipeline {
    /// Starts the engine.
    pub async fn start(config: &Config, prepared: Prepared) -> Result<Self, BootError> {
        let Prepared { adapters, replica, .. } = prepared;
        let engine_settings = settings::engine(config, replica, host_name());
        let engine = Engine::start(adapters.ports.clone(), engine_settings)
            .await
            .map_err(|error| BootError::Engine(error.to_string()))?;
        let measured = engine.handle().measured_arc();
        let gates = tokio::spawn(follow_gates(adapters.gates.clone(), measured));
        Ok(Self { adapters, engine: Arc::new(engine), gates })
    }

    /// The way in.
    pub fn handle(&self) -> EngineHandle {
        self.engine.handle()
    }

    /// The engine itself; whoever keeps it holds up [`Pipeline::shutdown`].
    pub(super) fn engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }

    /// Resolves when an actor could not be kept up.
    pub fn failed(&self) -> impl Future<Output = TreeFailure> + Send + 'static {
        self.engine.failed()
    }

    /// Hands runs back and closes the connections.
    pub async fn shutdown(self) {
        let Self { adapters, engine, gates } = self;
        gates.abort();
        // The admin router's heartbeat held the other reference, and its
        // server is gone.
        if let Ok(engine) = Arc::try_unwrap(engine) {
            for actor in &engine.shutdown().await.overdue {
                warn!(event = "vz_sync_stop_overdue", actor = %actor, "an actor had to be killed");
            }
        } else {
            warn!(event = "vz_sync_stop_overdue", "a request still held the engine");
        }
        adapters.pools.close();
    }
}

/// For people who look at several replicas.
fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}
