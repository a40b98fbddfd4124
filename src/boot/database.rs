//! The database: a given one, or the private cluster in the data directory.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tokio_postgres::{Client, Config as PgConfig};

use super::BootError;
use crate::adapters::postgres::cluster::{Cluster, ClusterOptions, Progress};
use crate::adapters::postgres::connect::Connector;
use crate::adapters::postgres::migrate;
use crate::config::Config;

/// Name of the database in the private cluster.
const DATABASE: &str = "vz_sync";

/// A reachable database.
pub struct Database {
    /// How to connect.
    pub connector: Connector,
    /// The private cluster, when it is ours.
    pub cluster: Option<Cluster>,
}

impl Database {
    /// Opens the database of the configuration: `database.url`, else a private
    /// cluster below `database.data_dir`, started if it does not run.
    pub async fn open(
        config: &Config,
        progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    ) -> Result<Self, BootError> {
        let longest = config.database.statement_timeout_seconds.duration();
        if let Some(url) = &config.database.url {
            // tokio-postgres' parse errors name the offending option, never
            // its value.
            let at = PgConfig::from_str(url.expose_secret())
                .map_err(|error| BootError::Refused(format!("database.url: {error}")))?;
            let connector = Connector::new(at, config.database.ssl_root_cert.as_deref())?;
            return Ok(Self { connector: connector.statement_timeout(longest), cluster: None });
        }
        let mut options = ClusterOptions::new(cluster_dir(&config.database.data_dir));
        if let Some(progress) = progress {
            options = options.on_progress(progress);
        }
        let cluster = Cluster::open(options).await?;
        let admin = connect(&cluster.config("postgres").into()).await?;
        let known = admin
            .query_opt("select 1 from pg_database where datname = $1", &[&DATABASE])
            .await
            .map_err(|error| BootError::Database(error.to_string()))?;
        if known.is_none() {
            cluster.create_database(DATABASE, None).await?;
        }
        let connector = Connector::from(cluster.config(DATABASE)).statement_timeout(longest);
        Ok(Self { connector, cluster: Some(cluster) })
    }

    /// A session of its own.
    pub async fn connect(&self) -> Result<Client, BootError> {
        connect(&self.connector).await
    }

    /// Applies what is missing of the schema.
    pub async fn migrate(&self) -> Result<migrate::Report, BootError> {
        Ok(migrate::up(&mut self.connect().await?).await?)
    }

    /// Stops the cluster if it is ours.
    pub async fn close(self) -> Result<(), BootError> {
        match self.cluster {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

/// Where the private cluster of a data directory is.
pub(super) fn cluster_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pg")
}

/// Connects, with the cause of a failure in words.
async fn connect(connector: &Connector) -> Result<Client, BootError> {
    connector.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}"));
        BootError::Database(format!("{error}{}", cause.unwrap_or_default()))
    })
}
