//! Wires configuration, adapters, engine and listeners into a running service.

mod adapters;
mod database;
pub mod demo;
mod pipeline;
mod service;
mod settings;
mod system;

use std::net::SocketAddr;

use crate::adapters::postgres::cluster::ClusterError;
use crate::adapters::postgres::migrate::MigrateError;

pub use adapters::{Adapters, address_policy};
pub use database::Database;
pub use pipeline::Pipeline;
pub use service::{Listening, Prepared, Service};

/// The service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The private cluster did not start.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Database(String),
    /// There is nothing to open session keys with.
    #[error(
        "VZ_SYNC_MASTER_KEYS is unset: session keys cannot be opened (vz-sync keys generate --env makes one)"
    )]
    NoMasterKeys,
    /// The key ring cannot be read.
    #[error("VZ_SYNC_MASTER_KEYS: {0}")]
    Keys(String),
    /// A listener could not be opened.
    #[error("cannot listen on {address} for the {what}: {error}")]
    Listen {
        /// `API` or `admin listener`.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The engine did not start.
    #[error("the engine did not start: {0}")]
    Engine(String),
    /// The API could not be put together.
    #[error("the API cannot be put together: {0}")]
    Api(String),
    /// The platform client could not be built.
    #[error("the platform client cannot be built: {0}")]
    Platform(String),
    /// The schema could not be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl BootError {
    /// Whether a service that is needed did not answer, as opposed to a fault
    /// in what we were told or did.
    pub const fn is_dependency(&self) -> bool {
        matches!(self, Self::Cluster(_) | Self::Database(_))
    }
}
