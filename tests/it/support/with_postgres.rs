//! Runs a command with a database server for the tests beside it:
//! `with-postgres cargo nextest run`. The server's socket folder is in the
//! command's `VZ_SYNC_TEST_PG`; server and data are gone when it ends, and its
//! exit code is passed on.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use tokio::{process::Command, signal::unix};
use vz_sync::adapters::postgres::cluster::{Cluster, ClusterOptions, Durability};

// Spawning is left to the cluster's own thread, so one thread suffices here.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("usage: with-postgres COMMAND [ARGUMENT]...")?;
    let dir = std::env::temp_dir().join(format!("vz-test-pg-{}-shared", std::process::id()));
    let cluster = Cluster::open(ClusterOptions::new(&dir).durability(Durability::TestFast)).await?;
    let outcome = run(&cluster, Command::new(&program).args(words)).await;
    let socket_dir = cluster.socket_dir().to_path_buf();
    cluster.stop().await?;
    let _ = fs::remove_dir(socket_dir);
    let _ = fs::remove_dir_all(&dir);
    outcome.with_context(|| format!("cannot run {}", program.display()))
}

async fn run(cluster: &Cluster, command: &mut Command) -> Result<ExitCode> {
    // Ctrl-C reaches the command by itself; staying alive until it has ended
    // is what lets the server be stopped after it.
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut child =
        command.env("VZ_SYNC_TEST_PG", cluster.socket_dir()).kill_on_drop(true).spawn()?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                if let Some(pid) = child.id() {
                    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
                }
            }
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
