//! `vz-sync serve`: run the service.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Context, Exit, Override};
use crate::boot::{Database, Prepared, Service};

/// Run the service until SIGTERM: scheduler, workers, API, events and admin listener.
///
/// Without VZ_SYNC_DATABASE_URL it starts and owns a private Postgres in the data directory.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address of the API [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address of probes, metrics and the actor tree [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// Where the embedded database keeps its files [default: .vz-sync]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl ServeArgs {
    /// The flags as overrides of the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        overrides(self.listen, self.admin_listen, self.data_dir.as_ref())
    }
}

/// The listener and directory flags that `serve` and `demo` share.
pub(super) fn overrides(
    listen: Option<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    data_dir: Option<&PathBuf>,
) -> Vec<Override> {
    [
        listen.map(|a| ("http.listen", a.to_string(), "--listen")),
        admin_listen.map(|a| ("admin.listen", a.to_string(), "--admin-listen")),
        data_dir.map(|d| ("database.data_dir", d.display().to_string(), "--data-dir")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs the service until it is stopped.
pub async fn run(args: &ServeArgs, context: &Context) -> Result<Exit, CliError> {
    let config = context.load(args.overrides())?.config;
    let _counters = context.start_logging(&config)?;
    tracing::info!(
        event = "vz_sync_embedded",
        "due queue, lock and buses are in this process: run one replica only"
    );
    let database = Database::open(&config, None).await?;
    database.migrate().await?;
    let prepared = Prepared::over(&config, &database).await?;
    let service = Service::start(&config, prepared).await?;
    let listening = service.listening;
    context.output.result(
        &json!({
            "url": format!("http://{}", listening.api),
            "admin_url": format!("http://{}", listening.admin),
        }),
        &format!("API on http://{}, operators on http://{}", listening.api, listening.admin),
    );
    let failure = service.run_until(stop_requested(&database)).await;
    database.close().await?;
    match failure {
        None => Ok(Exit::Ok),
        Some(failure) => Err(CliError::Failure(anyhow::Error::new(failure))),
    }
}

/// Resolves on SIGTERM or SIGINT, or when the private database is gone: its
/// data is what the service is for.
pub(super) async fn stop_requested(database: &Database) {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(event = "vz_sync_signals", error = %error, "cannot listen for SIGTERM");
            return;
        }
    };
    let database_gone = async {
        match &database.cluster {
            Some(cluster) => cluster.exited().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        () = database_gone => {
            tracing::error!(event = "vz_sync_database_gone", "the private database ended");
        }
    }
}
