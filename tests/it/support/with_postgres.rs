//! Runs a command with servers for the tests beside it:
//! `with-postgres cargo nextest run`. The socket folder of a database server is
//! in the command's `VZ_SYNC_TEST_PG`; who connects to the socket in
//! `VZ_SYNC_TEST_AMQP` gets the URL of a vhost of a broker, which starts when
//! the first one asks. Servers and data are gone when the command ends, and its
//! exit code is passed on.

use std::path::Path;
use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use tokio::net::UnixListener;
use tokio::{process::Command, signal::unix};
use vhosts::Vhosts;
use vz_sync::adapters::postgres::cluster::{Cluster, ClusterOptions, Durability};

#[path = "broker.rs"]
#[allow(dead_code, reason = "the tests kill and freeze brokers, this program only starts one")]
mod broker;
#[path = "vhosts.rs"]
#[allow(dead_code, reason = "the tests ask, this program answers")]
mod vhosts;

// Spawning is left to threads of its own, so one thread suffices here.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("usage: with-postgres COMMAND [ARGUMENT]...")?;
    let dir = std::env::temp_dir().join(format!("vz-test-pg-{}-shared", std::process::id()));
    let cluster = Cluster::open(ClusterOptions::new(&dir).durability(Durability::TestFast)).await?;
    let brokers = std::env::temp_dir().join(format!("vz-test-mq-{}-shared", std::process::id()));
    fs::create_dir_all(&brokers)?;
    let socket = brokers.join("socket");
    let listener = UnixListener::bind(&socket)?;
    let vhosts = Vhosts::new(brokers.join("broker"));
    let mut command = Command::new(&program);
    command.args(words).env(vhosts::SOCKET, &socket);
    let outcome = tokio::select! {
        outcome = run(&cluster, &mut command) => outcome,
        ended = vhosts.serve(listener) => Err(ended.err().context("no more vhosts")?),
    };
    drop(vhosts);
    remove(&brokers);
    let socket_dir = cluster.socket_dir().to_path_buf();
    cluster.stop().await?;
    let _ = fs::remove_dir(socket_dir);
    let _ = fs::remove_dir_all(&dir);
    outcome.with_context(|| format!("cannot run {}", program.display()))
}

/// A broker that was killed a moment ago may still write a file.
fn remove(dir: &Path) {
    for _ in 0..3 {
        if fs::remove_dir_all(dir).is_ok() {
            return;
        }
    }
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
