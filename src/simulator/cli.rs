//! `vz-sync simulate`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::options::{
    AccountSpec, DEFAULT_TOKEN_TEMPLATE, Latency, Rate, SimulatorOptions, numbered_token,
};
use super::schedule::Schedule;

/// Play the hosting platform: answers the API calls that a mirror makes, from an invented world.
///
/// The world is made from the seed, lives in memory and is gone when the command ends. Every
/// account has the same number of environments; account 1 has uid 10001 and the first token.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Where to listen; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Equal seeds give equal worlds.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// How many accounts the platform has.
    #[arg(long, default_value_t = 2)]
    pub accounts: usize,

    /// Environments of each account.
    #[arg(long, default_value_t = 20)]
    pub environments: usize,

    /// Nodes of each environment.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,

    /// The accounts' tokens; `{:06}` stands for the account's number with six digits.
    #[arg(long, default_value = DEFAULT_TOKEN_TEMPLATE, value_name = "TEMPLATE")]
    pub token_template: String,

    /// Let the world change by itself this often, such as 2/s, 30/m or 10/h.
    #[arg(long, value_name = "RATE")]
    pub evolve: Option<Rate>,

    /// Milliseconds that every call takes at least.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub latency_ms: u64,

    /// Up to so many milliseconds more, by seeded chance.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub jitter_ms: u64,

    /// Microseconds more for each environment of a listing; a tenth of it when lazy.
    #[arg(long, default_value_t = 0, value_name = "US")]
    pub latency_per_environment_us: u64,

    /// Answer with elements as wide as on real platforms (41 fields an environment, 53 a node,
    /// about 1.3 kB each) instead of the recorded sample's.
    #[arg(long)]
    pub wide: bool,

    /// Fall ill by itself, of every kind of fault in turn, drawn from this seed.
    #[arg(long, value_name = "SEED")]
    pub faults_seed: Option<u64>,

    /// With --faults-seed: milliseconds from one spell's time to the next one's.
    #[arg(long, default_value_t = 60_000, value_name = "MS", requires = "faults_seed")]
    pub faults_every_ms: u64,

    /// With --faults-seed: milliseconds that a spell lasts at most.
    #[arg(long, default_value_t = 20_000, value_name = "MS", requires = "faults_seed")]
    pub faults_lasting_ms: u64,

    /// With --faults-seed: only these kinds of trouble, separated by commas.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', requires = "faults_seed")]
    pub faults_only: Vec<String>,

    /// Take orders under /control/: steps, mutations, faults, statistics. Has no authentication.
    #[arg(long)]
    pub control: bool,
}

impl SimulateArgs {
    /// The options that these arguments stand for.
    pub fn options(&self) -> SimulatorOptions {
        let accounts = (1..=self.accounts).map(|number| AccountSpec {
            token: numbered_token(&self.token_template, number),
            ..AccountSpec::numbered(number, self.environments, self.nodes)
        });
        SimulatorOptions {
            listen: self.listen,
            seed: self.seed,
            accounts: accounts.collect(),
            latency: Latency {
                base: Duration::from_millis(self.latency_ms),
                jitter: Duration::from_millis(self.jitter_ms),
                per_environment: Duration::from_micros(self.latency_per_environment_us),
            },
            evolve: self.evolve,
            schedule: self.faults_seed.map(|seed| Schedule {
                seed,
                every_ms: self.faults_every_ms,
                lasting_ms: self.faults_lasting_ms,
                only: self.faults_only.clone(),
            }),
            control: self.control,
            wide: self.wide,
            start_time: None,
        }
    }
}

/// Starts the simulator, prints where it is, and runs it until SIGINT or SIGTERM.
pub async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let simulator = super::start(args.options()).await?;
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "platform url  {}", simulator.base_url())?;
        writeln!(out, "accounts      {} of {} environments", args.accounts, args.environments)?;
        if let Some(&uid) = simulator.world().accounts().first() {
            let token = simulator.world().token(uid).unwrap_or_default();
            writeln!(out, "first account uid {uid}, token {token}")?;
        }
        if args.control {
            writeln!(out, "control       {}/control/", simulator.base_url())?;
        }
        out.flush()?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        simulate: SimulateArgs,
    }

    #[test]
    fn arguments_become_options() {
        let line = "simulate --accounts 3 --environments 5 --nodes 1 --token-template k{:03} \
                    --evolve 2/s --latency-ms 7 --wide";
        let options = Cli::parse_from(line.split_whitespace()).simulate.options();
        let tokens = options.accounts.iter().map(|account| account.token.as_str());
        assert_eq!(tokens.collect::<Vec<_>>(), ["k001", "k002", "k003"]);
        assert_eq!(options.accounts[2].environments, 5);
        assert_eq!(options.latency.base, Duration::from_millis(7));
        assert!(options.wide && !options.control && options.listen.ip().is_loopback());
        assert_eq!(options.evolve, Rate::per_second(2.0));
    }

    #[test]
    fn a_seed_makes_a_schedule() {
        let line = "simulate --faults-seed 7 --faults-every-ms 500 --faults-lasting-ms 200 \
                    --faults-only empty,refused";
        let options = Cli::parse_from(line.split_whitespace()).simulate.options();
        let only = vec!["empty".to_owned(), "refused".to_owned()];
        let expected = Schedule { seed: 7, every_ms: 500, lasting_ms: 200, only };
        assert_eq!(options.schedule, Some(expected));
        assert!(options.check().is_ok());
        assert!(Cli::try_parse_from(["simulate", "--faults-only", "empty"]).is_err());
        assert_eq!(Cli::parse_from(["simulate"]).simulate.options().schedule, None);
    }

    #[test]
    fn a_rate_without_a_unit_is_refused() {
        assert!(Cli::try_parse_from(["simulate", "--evolve", "2"]).is_err());
    }
}
