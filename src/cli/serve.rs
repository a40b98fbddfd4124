//! `vz-sync serve`: run the service.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
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
    let log = context.start_logging(&config)?;
    tracing::info!(
        event = "vz_sync_embedded",
        "due queue, lock and buses are in this process: run one replica only"
    );
    let database = Database::open(&config, None).await?;
    database.migrate().await?;
    let prepared = Prepared::over(&config, &database).await?;
    prepared.show_log(&log);
    let service = Service::start(&config, prepared).await?;
    let listening = service.listening;
    context.output.result(
        &json!({
            "url": format!("http://{}", listening.api),
            "admin_url": format!("http://{}", listening.admin),
        }),
        &format!("API on http://{}, operators on http://{}", listening.api, listening.admin),
    );
    run_to_the_end(service, database).await
}

/// Runs a service until it is told to stop or cannot go on, and closes its database.
pub(super) async fn run_to_the_end(service: Service, database: Database) -> Result<Exit, CliError> {
    let ended = service.run_until(stopped(&database)).await;
    match ended {
        // A server that is gone needs no stopping, and its end is the error to tell.
        Ok(Err(gone)) => Err(gone),
        Ok(Ok(())) => {
            database.close().await?;
            Ok(Exit::Ok)
        }
        Err(failure) => {
            database.close().await?;
            Err(CliError::Failure(anyhow::Error::new(failure)))
        }
    }
}

/// Resolves on SIGTERM or SIGINT, and with an error when the private database
/// is gone: its data is what the service is for.
async fn stopped(database: &Database) -> Result<(), CliError> {
    let mut terminate =
        signal(SignalKind::terminate()).context("this process cannot listen for SIGTERM")?;
    let database_gone = async {
        match &database.cluster {
            Some(cluster) => cluster.exited().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = database_gone => {
            tracing::error!(event = "vz_sync_database_gone", "the private database ended");
            Err(CliError::Dependency(anyhow::anyhow!(
                "the private database ended by itself; postgres.log in its folder says why"
            )))
        }
    }
}
