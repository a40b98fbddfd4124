//! `vz-sync demo`: everything in one process, on this machine only.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value as Json;

use super::serve::run_to_the_end;
use super::{CliError, Context, Exit, Override};
use crate::boot::{Database, Prepared, Service, demo};
use crate::config::{ConfigError, Loaded, Problem};

/// Show a real pipeline at work: database, platform simulator, two teams and the service.
///
/// Listens on loopback only, prints the address and ready-made tokens, and writes them to
/// demo.json in the data directory once all is up. Started again, it goes on with the same data.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo keeps its database and demo.json
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    pub data_dir: PathBuf,
    /// Address of the API [default: 127.0.0.1:8080]
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

/// The flags are not the only way to an address: a file and the environment are others.
fn refuse_network(loaded: &Loaded) -> Result<(), CliError> {
    let config = &loaded.config;
    let listeners = [("http.listen", config.http.listen), ("admin.listen", config.admin.listen)];
    let problems: Vec<Problem> = listeners
        .into_iter()
        .filter(|(_, address)| !address.ip().is_loopback())
        .map(|(key, address)| Problem {
            key: key.to_owned(),
            origin: loaded.origin(key).to_owned(),
            message: format!("is {address}, but the demo listens on loopback addresses only"),
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }.into()) }
}

/// Runs it until it is stopped.
pub async fn run(args: &DemoArgs, context: &Context) -> Result<Exit, CliError> {
    let began = std::time::Instant::now();
    // Judged before anything is deleted, made or opened.
    refuse_network(&context.load(args.overrides())?)?;
    demo::ensure_free(&args.data_dir)?;
    if args.fresh {
        demo::forget(&args.data_dir).await?;
    }
    std::fs::create_dir_all(&args.data_dir)
        .with_context(|| format!("{} cannot be made", args.data_dir.display()))?;
    demo::withdraw(&args.data_dir)?;
    let secrets = demo::DemoSecrets::open(&args.data_dir)?;
    let mut overrides = args.overrides();
    overrides.extend(secrets.overrides());
    let config = context.load(overrides)?.config;
    let log = context.start_logging(&config)?;

    let platform = demo::platform(args.simulator_listen).await?;
    let database = Database::open(&config, None).await?;
    demo::ensure_ours(&database, &config).await?;
    database.migrate().await?;
    let prepared = Prepared::over(&config, &database).await?;
    prepared.show_log(&log);
    demo::teams(&prepared.adapters, &platform).await?;
    let service = Service::start(&config, prepared).await?;
    let welcome = demo::welcome(&args.data_dir, &config, &secrets, &service, &platform)?;
    context.output.result(&welcome.json, &text(&welcome, began.elapsed()));

    let ended = run_to_the_end(service, database).await;
    platform.shutdown().await;
    ended
}

fn text(welcome: &demo::Welcome, took: std::time::Duration) -> String {
    let field =
        |pointer: &str| welcome.json.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
    let (url, path) = (field("/url"), welcome.path.display());
    format!(
        "
vz-sync is up after {:.1} s, with two teams: 1 (12 environments) and 2 (2,000).

  API         {url}        (description at /docs)
  operators   {admin_url}        (/livez /readyz /metrics /admin/actors)
  platform    {simulator}        (the simulator; it changes a little all the time)
  as JSON     {path}        (while it runs)

Paste these into another terminal; the tokens are good for a week:

URL={url}/api/v1/teams
OWNER={owner}
MANAGER={manager}
DEVELOPER={developer}
ADMIN={admin}
PLATFORM={platform}

Try next, there:

  curl -s -H \"Authorization: Bearer $OWNER\" $URL
  curl -s -H \"Authorization: Bearer $OWNER\" \"$URL/1/environments?limit=2\"
  curl -sN -H \"Authorization: Bearer $OWNER\" $URL/1/events &
  curl -s -X POST -H \"Authorization: Bearer $OWNER\" -H 'Content-Type: application/json' \\
       -d '{{}}' $URL/1/vz-sync
  curl -s -H \"Authorization: Bearer $ADMIN\" {admin_url}/admin/actors

Ctrl-C stops it; started again it goes on with the same data.
",
        took.as_secs_f64(),
        admin_url = field("/admin_url"),
        simulator = field("/simulator_url"),
        owner = field("/tokens/owner"),
        manager = field("/tokens/manager"),
        developer = field("/tokens/developer"),
        admin = field("/tokens/admin"),
        platform = field("/platform_token"),
    )
}
