//! `vz-sync bench`: what the parts can do on this machine.

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Context, Exit};
use crate::bench::{self, CodecArgs, PipelineArgs, SyncArgs};

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
    Codec(CodecArgs),
}

/// Runs it.
pub async fn run(args: &BenchArgs, context: &Context) -> Result<Exit, CliError> {
    let mut config = context.load(bench::overrides()?)?.config;
    let _counters = context.start_logging(&config)?;
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    let progress = |what: &str| bar.set_message(what.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let found = match &args.command {
        None => sync(&args.sync, &mut config, &progress).await,
        Some(BenchCommand::Sync(args)) => sync(args, &mut config, &progress).await,
        Some(BenchCommand::Codec(args)) => args.run().await.map(Some),
        Some(BenchCommand::Pipeline(args)) => {
            bench::limit_requests(&mut config, args.platform_rate);
            args.run(&config, &progress, interrupted()).await
        }
    };
    bar.finish_and_clear();
    let Some(report) = found? else { return Ok(Exit::Interrupted) };
    context.output.result(&report.json, &report.text);
    Ok(Exit::Ok)
}

async fn sync(
    args: &SyncArgs,
    config: &mut crate::config::Config,
    progress: bench::Progress<'_>,
) -> anyhow::Result<Option<bench::Report>> {
    bench::limit_requests(config, args.platform_rate);
    args.run(config, progress, interrupted()).await
}

/// SIGINT or SIGTERM: what was made is removed before the command ends.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
