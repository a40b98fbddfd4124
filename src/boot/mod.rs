//! Wires configuration, adapters, engine and listeners into a running service.

mod database;
mod settings;
mod system;

use crate::adapters::postgres::cluster::ClusterError;
use crate::adapters::postgres::migrate::MigrateError;

pub use database::Database;

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
    #[error("VZ_SYNC_MASTER_KEYS is unset: session keys cannot be opened (vz-sync keys generate --env makes one)")]
    NoMasterKeys,
    /// The key ring cannot be read.
    #[error("VZ_SYNC_MASTER_KEYS: {0}")]
    Keys(String),
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
