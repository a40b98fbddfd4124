//! Arguments of `vz-sync serve`: run the service.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Override;

/// Run the service until SIGTERM: scheduler, workers, API, events and admin listener.
///
/// Without VZ_SYNC_DATABASE_URL it starts and owns a private Postgres in the data directory.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address of the API and the web page [default: 127.0.0.1:8080]
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
