//! `vz-sync bench`: what the parts can do on this machine.

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Context, Exit};
use crate::bench::{
    self, ClaimArgs, DispatchArgs, PickupArgs, PipelineArgs, PlatformArgs, ReadsArgs, SseArgs,
    SyncArgs,
};

/// Measure the engine and its parts on this machine
///
/// Without a subcommand it is `bench sync`. Needs nothing but this binary: the platform is the
/// simulator, the database a private one that is removed afterwards. Measure release builds, and
/// read CPU seconds where other programs use the machine too.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    sync: SyncArgs,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Sync(SyncArgs),
    Pipeline(PipelineArgs),
    Pickup(PickupArgs),
    Dispatch(DispatchArgs),
    Claim(ClaimArgs),
    Sse(SseArgs),
    Reads(ReadsArgs),
    Platform(PlatformArgs),
}

/// Runs it.
pub async fn run(args: &BenchArgs, context: &Context) -> Result<Exit, CliError> {
    let mut config = context.load(bench::overrides()?)?.config;
    let _counters = context.start_logging(&config)?;
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    let progress = |what: &str| bar.set_message(what.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let stop = interrupted()?;
    let rate = match &args.command {
        None => args.sync.platform_rate,
        Some(BenchCommand::Sync(args)) => args.platform_rate,
        Some(BenchCommand::Pipeline(args)) => args.platform_rate,
        Some(_) => None,
    };
    bench::limit_requests(&mut config, rate);
    let found = match &args.command {
        None => args.sync.run(&config, &progress, stop).await,
        Some(BenchCommand::Sync(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Pipeline(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Pickup(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Dispatch(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Claim(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Sse(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Reads(args)) => args.run(&config, &progress, stop).await,
        Some(BenchCommand::Platform(args)) => args.run(&progress, stop).await,
    };
    bar.finish_and_clear();
    let Some(report) = found? else { return Ok(Exit::Interrupted) };
    context.output.result(&report.json, &report.text);
    Ok(Exit::Ok)
}

/// SIGINT or SIGTERM: what was made is removed before the command ends. Listens from the call on,
/// so that a signal during the start counts.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
