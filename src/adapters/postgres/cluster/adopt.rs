//! Looks for a server that already runs on the cluster: adopts it when it
//! answers, clears what a dead one left when it does not.
//!
//! Two lock files tell the processes apart. `open.lock` is held while a
//! process opens the cluster. `owner.lock` is held by the process whose child
//! the server is, for as long as the server lives: a server that answers
//! although nobody holds it is an orphan, and whoever adopts it inherits it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, error::SqlState};

use super::error::{ClusterError, io};
use crate::adapters::postgres::connect::Connector;

/// How long one connection attempt may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// How often a process that is not our child is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What stands behind the socket.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nobody.
    Silence,
    /// A server that starts, recovers or stops.
    Busy,
    /// A server of this data directory.
    Serving(String),
}

/// Connection settings for a database of the cluster.
pub(super) fn config(socket_dir: &Path, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(socket_dir).user("postgres").dbname(database);
    config
}

/// A connection of our own.
pub(super) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    Connector::from(config).connect().await
}

/// Asks whoever listens on the socket which data directory it serves.
pub(super) async fn probe(socket_dir: &Path) -> Answer {
    let attempt = async {
        let client = connect(&config(socket_dir, "postgres")).await?;
        client.query_one("show data_directory", &[]).await?.try_get::<_, String>(0)
    };
    match timeout(PROBE_PATIENCE, attempt).await {
        Ok(Ok(directory)) => Answer::Serving(directory),
        Ok(Err(error)) if error.code() == Some(&SqlState::CANNOT_CONNECT_NOW) => Answer::Busy,
        // Slots run out on a living server, and a shutdown cuts a session off.
        Ok(Err(error)) if error.as_db_error().is_some() => Answer::Busy,
        Ok(Err(_)) => Answer::Silence,
        Err(_) => Answer::Busy,
    }
}

/// Opens a lock file of the cluster.
pub(super) fn lock_file(root: &Path, name: &str) -> Result<File, ClusterError> {
    let path = root.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io("open", &path))
}

/// Tries to become the server's keeper: `None` when another process is.
pub(super) fn try_own(root: &Path) -> Result<Option<File>, ClusterError> {
    let file = lock_file(root, "owner.lock")?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(io("lock", &root.join("owner.lock"))(error)),
    }
}

/// The pid that the server wrote down.
pub(super) fn recorded_pid(root: &Path) -> Option<u32> {
    let text = fs::read_to_string(root.join("data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Whether `pid` lives and works in this data directory, as every server
/// process does. Without `/proc` a living process is believed.
pub(super) fn is_server(root: &Path, pid: u32) -> bool {
    if !Path::new("/proc/self/cwd").exists() {
        return alive(pid);
    }
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == root.join("data"))
}

fn alive(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(Errno::ESRCH)
}

/// Ends what an earlier run left behind and does not answer. Call it only
/// while holding `owner.lock`.
pub(super) async fn clear(root: &Path) -> Result<(), ClusterError> {
    let Some(pid) = recorded_pid(root) else { return Ok(()) };
    if is_server(root, pid) {
        tracing::info!(pid, "stopping an embedded database server that nobody can reach");
        return stop_other(root, pid).await;
    }
    // Postgres refuses to start while the recorded pid belongs to any living
    // process of its user, such as the next container's pid 30. The file goes
    // only when no server process is left, because it also guards against them.
    if alive(pid) && !any_server(root) {
        let file = root.join("data/postmaster.pid");
        tracing::info!(pid, "removing a lock file whose process id belongs to another program");
        fs::remove_file(&file).map_err(io("remove", &file))?;
    }
    Ok(())
}

fn any_server(root: &Path) -> bool {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .any(|pid| is_server(root, pid))
}

/// Stops a server that is not our child.
pub(super) async fn stop_other(root: &Path, pid: u32) -> Result<(), ClusterError> {
    for (signal, patience) in [
        (Signal::SIGINT, Duration::from_secs(20)),
        (Signal::SIGQUIT, Duration::from_secs(5)),
        (Signal::SIGKILL, Duration::from_secs(5)),
    ] {
        if !is_server(root, pid) {
            return Ok(());
        }
        let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
        if timeout(patience, gone(root, pid)).await.is_ok() {
            return Ok(());
        }
    }
    Err(ClusterError::WillNotStop { pid })
}

/// Waits until `pid` serves this cluster no longer.
pub(super) async fn gone(root: &Path, pid: u32) {
    while is_server(root, pid) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
