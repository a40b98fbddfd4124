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
use crate::adapters::postgres::connect::TlsError;
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
    /// The database answers, and refuses or holds what cannot be used.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// TLS to the database cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
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

/// Whose fault it is that the service could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// A service that is needed did not answer.
    Dependency,
    /// The settings are not good enough for this.
    Settings,
    /// Anything else.
    Other,
}

impl BootError {
    /// Whose fault it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Cluster(_) | Self::Database(_) => Blame::Dependency,
            Self::NoMasterKeys | Self::Keys(_) | Self::Tls(_) => Blame::Settings,
            _ => Blame::Other,
        }
    }
}
