//! A stand-in for the platform, faithful to its documented answers.
//!
//! It owns a seeded, in-memory world of accounts with environments and nodes, lets that world
//! change over time, and serves it through the platform's own HTTP shapes: GET and POST form,
//! errors in HTTP 200, unpaged listings. Faults can be ordered through [`Faults`] or, when the
//! control endpoint is on, by HTTP under `/control/`.
//!
//! Deliberately absent: any other room of this crate. The simulator knows the wire and nothing of
//! the mirror, so that a misreading of the platform in the adapter cannot be repeated here by
//! sharing its types. Methods that write to the platform are absent too: the mirror only reads.
//!
//! Choices that no public source settles (the number behind an expired session, the shape of an
//! action, what a collaborator's `right` says) are named where they are made, in the modules
//! `wire`, `actions`, `render` and `methods`.

mod actions;
mod change;
mod cli;
mod clock;
mod control;
mod effects;
mod estate;
mod evolve;
mod fault;
mod faults;
mod listing;
mod methods;
mod options;
mod params;
mod render;
mod reply;
mod routes;
mod server;
mod stats;
mod summary;
mod wire;
mod world;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use change::Change;
pub use cli::{SimulateArgs, run};
pub use evolve::{Created, Happening, Mutation};
pub use fault::{Fault, HangAt};
pub use faults::{FaultRule, Faults, RuleReport};
pub use options::{AccountSpec, Latency, Rate, Share, SimulatorOptions};
pub(crate) use options::{DEFAULT_TOKEN_TEMPLATE, numbered_token};
pub use server::Door;
pub use stats::{MethodStats, RequestRecord, Stats, StatsReport};
pub use summary::{AccountSummary, EnvironmentSummary, NodeSummary};
pub use world::{TokenState, World, WorldError};

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The listening address could not be bound.
    #[error("the simulator cannot listen on {address}: {source}; choose a free port or use port 0")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The options contradict themselves.
    #[error("the simulator's options are not usable: {0}")]
    Options(String),
}

/// All that requests, the control endpoint and the in-process handles share.
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) faults: Faults,
    pub(crate) stats: Stats,
    pub(crate) door: server::DoorHandle,
    pub(crate) latency: options::Latency,
    pub(crate) control: bool,
}

/// A running simulator. Dropping it stops it too, only without waiting for the end.
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
    evolution: Option<JoinHandle<()>>,
}

/// Starts a simulator and returns once it accepts connections.
pub async fn start(options: SimulatorOptions) -> Result<Simulator, SimulatorError> {
    options.check()?;
    let bind_error = |source| SimulatorError::Bind { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let shared = Arc::new(Shared {
        faults: Faults::new(options.seed),
        stats: Stats::default(),
        door: server::DoorHandle::default(),
        latency: options.latency,
        control: options.control,
        world: World::new(&options),
    });
    let stop = CancellationToken::new();
    let server = tokio::spawn(server::serve(
        listener,
        address,
        routes::router(Arc::clone(&shared)),
        shared.door.watch(),
        stop.clone(),
    ));
    let evolution = options
        .evolve
        .map(|rate| tokio::spawn(evolve::keep_evolving(Arc::clone(&shared), rate, stop.clone())));
    Ok(Simulator { address, shared, stop, server: Some(server), evolution })
}

impl Simulator {
    /// The address that it listens on; the port is the real one even when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The platform URL to give to a client, without a trailing slash.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The simulated platform itself: the same operations as the control endpoint has.
    pub fn world(&self) -> &World {
        &self.shared.world
    }

    /// The faults that answers suffer.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What was asked of the simulator so far.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Opens or closes the listener: connection refused, or a hang at connect.
    pub fn set_door(&self, door: Door) {
        self.shared.door.set(door);
    }

    /// Stops listening, drops every open connection and waits until nothing of it runs.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for task in [self.server.take(), self.evolution.take()].into_iter().flatten() {
            // A panic in the server was already reported by the panic hook; stopping goes on.
            let _ = task.await;
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
