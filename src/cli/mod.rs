//! The command line: one file per command, each with its arguments and its `run`.
//!
//! Commands never end the process and never print past [`Output`]; the way they end
//! is an [`Exit`]. Only commands that work are in the tree; `simulate` brings its own
//! arguments from the simulator's room.

mod bench;
mod config;
mod context;
pub mod credentials;
pub mod demo;
mod exit;
mod keys;
pub mod migrate;
mod output;
pub mod serve;
pub mod teams;
mod token;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use context::{Context, Override};
pub use exit::{CliError, Exit};
pub use output::Output;

/// Keeps a Postgres mirror of what hosting teams run on a Virtuozzo Application
/// Platform, and says honestly how fresh it is.
///
/// Settings come from the built-in defaults, a file, the environment (VZ_SYNC_*) and
/// flags, later ones winning; `vz-sync config print` shows what holds and why.
#[derive(Debug, Parser)]
#[command(name = "vz-sync", version, propagate_version = true, after_help = exit::HELP)]
#[command(max_term_width = 100, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct GlobalArgs {
    /// Settings file in TOML; `config/default.toml` explains every key [env: VZ_SYNC_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Results as JSON on stdout, for scripts
    #[arg(long, global = true)]
    json: bool,
    /// How log lines on stderr look [default: human on a terminal, json elsewhere]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormatArg>,
    /// Colours in logs and progress
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorArg,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormatArg {
    /// Human on a terminal, JSON elsewhere
    Auto,
    /// One JSON object per line
    Json,
    /// For eyes
    Human,
}

impl LogFormatArg {
    const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Human => "human",
        }
    }
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    #[command(subcommand)]
    Teams(teams::TeamsCommand),
    #[command(subcommand)]
    Credentials(credentials::CredentialsCommand),
    /// Make master keys and other secrets
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    Token(token::TokenArgs),
    /// Check or show the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    Simulate(crate::simulator::SimulateArgs),
    Bench(bench::BenchArgs),
}

/// Parses and runs a command line; the environment is handed in by `main`.
///
/// `on_runtime` gets the parsed command as a future, so that `main` alone decides
/// about threads.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: BTreeMap<String, String>,
    on_runtime: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = Exit>>>) -> Exit,
) -> Exit {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let output = Output::stdio(cli.global.json);
            on_runtime(Box::pin(execute(cli, environment, output)))
        }
        Err(error) => {
            // Help and version come this way too; a closed pipe is nobody's failure.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    }
}

async fn execute(cli: Cli, environment: BTreeMap<String, String>, output: Output) -> Exit {
    let context = Context::new(&cli.global, environment, output);
    let ended = match cli.command {
        Command::Serve(args) => serve::run(&args, &context).await,
        Command::Demo(args) => demo::run(&args, &context).await,
        Command::Teams(command) => teams::run(&command, &context).await,
        Command::Credentials(command) => credentials::run(&command, &context).await,
        Command::Keys(command) => keys::run(command, &context),
        Command::Token(args) => token::run(&args, &context),
        Command::Config(command) => config::run(&command, &context),
        Command::Migrate(command) => migrate::run(&command, &context).await,
        Command::Simulate(args) => simulate(args).await,
        Command::Bench(args) => bench::run(&args, &context).await,
    };
    ended.unwrap_or_else(|error| {
        context.output.error(&error);
        error.exit()
    })
}

async fn simulate(args: crate::simulator::SimulateArgs) -> Result<Exit, CliError> {
    crate::simulator::run(args).await?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
