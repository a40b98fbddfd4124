//! Arguments of `vz-sync demo`: everything in one process, on this machine only.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Override;

/// Show a real pipeline at work: database, platform simulator, two teams and the service.
///
/// Listens on loopback only, prints the address and ready-made tokens, and writes them to
/// demo.json in the data directory once all is up. Started again, it goes on with the same data.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo keeps its database and demo.json
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    pub data_dir: PathBuf,
    /// Address of the API and the web page [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    pub listen: Option<SocketAddr>,
    /// Address of probes, metrics and the actor tree [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    pub admin_listen: Option<SocketAddr>,
    /// Address of the platform simulator
    #[arg(long, value_name = "ADDR", value_parser = loopback, default_value = "127.0.0.1:8082")]
    pub simulator_listen: SocketAddr,
    /// Throw away what an earlier demo left in the data directory
    #[arg(long)]
    pub fresh: bool,
}

impl DemoArgs {
    /// The flags, and what makes a demo of a service, as overrides of the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let mut flags =
            super::serve::overrides(self.listen, self.admin_listen, Some(&self.data_dir));
        flags.push(("pipeline.enabled", "true".into(), "demo"));
        flags.push(("platform.allow_http_loopback", "true".into(), "demo"));
        flags
    }
}

/// A demo has ready-made tokens: it opens nothing to the network.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("the demo listens on loopback addresses only".into())
    }
}
