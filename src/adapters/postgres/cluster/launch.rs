//! Makes a cluster and starts its server.
//!
//! The server is the child of one OS thread that does nothing but wait for it:
//! `--pdeathsig` follows the thread that spawned, and a runtime's worker may
//! end long before the process does. Output goes to a file: a pipe that nobody
//! reads would stop the server once it is full.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use tokio::sync::{oneshot, watch};

use super::{
    Durability,
    binaries::Binaries,
    error::{ClusterError, io},
    identity::Identity,
};

/// The log is set aside once it has grown past this; one older file is kept.
const LOG_LIMIT: u64 = 8 * 1024 * 1024;

/// How long each of SIGINT, SIGQUIT and SIGKILL is given.
const STOP_STEPS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(20)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// Runs initdb into `data.new` and renames it: `data` is whole or absent.
pub(super) fn initialise(
    root: &Path,
    binaries: &Binaries,
    identity: &Identity,
    durability: Durability,
) -> Result<(), ClusterError> {
    let (data, fresh, log) = (root.join("data"), root.join("data.new"), root.join("initdb.log"));
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }
    match fs::remove_dir(&data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ClusterError::NotACluster { dir: data });
        }
        _ => {}
    }
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(io("remove", &fresh))?;
    }
    let output = File::create(&log).map_err(io("create", &log))?;
    let errors = output.try_clone().map_err(io("open", &log))?;
    let mut command = identity.command(&binaries.initdb());
    command.arg("-D").arg(&fresh);
    command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-instructions"]);
    if durability == Durability::TestFast {
        command.arg("--no-sync");
    }
    let status = command
        .current_dir(root)
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(io("run", &binaries.initdb()))?;
    if !status.success() {
        return Err(failed("initdb", status, &log));
    }
    fs::rename(&fresh, &data).map_err(io("rename", &fresh))?;
    File::open(root).and_then(|dir| dir.sync_all()).map_err(io("sync", root))
}

/// The command line of the server.
pub(super) fn server_command(
    root: &Path,
    socket_dir: &Path,
    binaries: &Binaries,
    identity: &Identity,
    durability: Durability,
) -> Result<Command, ClusterError> {
    let log = log_path(root);
    if fs::metadata(&log).is_ok_and(|about| about.len() > LOG_LIMIT) {
        fs::rename(&log, root.join("postgres.log.1")).map_err(io("rename", &log))?;
    }
    let output =
        OpenOptions::new().create(true).append(true).open(&log).map_err(io("open", &log))?;
    let errors = output.try_clone().map_err(io("open", &log))?;
    let mut command = identity.command(&binaries.postgres());
    command.arg("-D").arg(root.join("data")).current_dir(root).stdout(output).stderr(errors);
    // Ctrl-C goes to the whole foreground group: the service must be able to
    // finish its work before the database goes.
    command.process_group(0);
    let mut set = |setting: String| {
        command.arg("-c").arg(setting);
    };
    set("listen_addresses=".into());
    set(format!("unix_socket_directories={}", socket_dir.display()));
    for setting in [
        "unix_socket_permissions=0700",
        "logging_collector=off",
        "log_destination=stderr",
        "log_line_prefix=%m [%p] ",
        "log_checkpoints=off",
        // Statements carry customers' data; the default would log failing ones.
        "log_min_error_statement=panic",
        "log_parameter_max_length_on_error=0",
        "timezone=UTC",
        "max_connections=100",
        "jit=off",
        "synchronous_commit=on",
    ] {
        set(setting.into());
    }
    if durability == Durability::TestFast {
        // Survives a killed server, not a lost machine. synchronous_commit=off
        // would lose acknowledged rows in the first case already.
        // One test server carries the pools of many tests at once.
        for setting in ["fsync=off", "full_page_writes=off", "max_connections=400"] {
            set(setting.into());
        }
    }
    Ok(command)
}

/// Where the server logs.
pub(super) fn log_path(root: &Path) -> PathBuf {
    root.join("postgres.log")
}

/// The last lines of a log on one line, for an error message.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    lines.reverse();
    if lines.is_empty() { "nothing was logged".into() } else { lines.join(" | ") }
}

pub(super) fn failed(program: &'static str, status: ExitStatus, log: &Path) -> ClusterError {
    ClusterError::Failed {
        program,
        status: status.to_string(),
        tail: tail(log),
        log: log.to_path_buf(),
    }
}

/// A server that this process started. Dropping it asks the server to end
/// without waiting; [`Server::stop`] waits.
#[derive(Debug)]
pub(super) struct Server {
    pid: u32,
    /// True once reaped. Signals are sent under this lock, so that a pid is
    /// never signalled after the system may have given it to another process.
    reaped: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Server {
    /// Spawns the server from a thread of its own. The thread keeps `owner`, a
    /// locked file, until the server has ended: the lock says to other
    /// processes that somebody looks after the server.
    pub(super) async fn spawn(mut command: Command, owner: File) -> std::io::Result<Self> {
        let (started, start) = oneshot::channel();
        let (exited, exit) = watch::channel(None);
        let reaped = Arc::new(Mutex::new(false));
        let shared = Arc::clone(&reaped);
        std::thread::Builder::new().name("vz-pg-parent".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            // The command holds our copies of the log file.
            drop(command);
            let pid = child.id();
            let server = Server { pid, reaped: Arc::clone(&shared), exit };
            // If the opener has gone, the value comes back and its drop stops the server.
            drop(started.send(Ok(server)));
            let wait = || {
                let id = Id::Pid(Pid::from_raw(pid.cast_signed()));
                waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            };
            while wait() == Err(Errno::EINTR) {}
            let mut reaped = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let status = child.wait().unwrap_or_default();
            *reaped = true;
            drop(reaped);
            tracing::debug!(pid, %status, "embedded database server ended");
            drop(owner);
            let _ = exited.send(Some(status));
        })?;
        start.await.map_err(|_| std::io::Error::other("the parent thread ended early"))?
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status, once it has ended.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits for the end of the server, whoever caused it.
    pub(super) async fn exited(&self) {
        let mut exit = self.exit.clone();
        // An error means that the thread is gone, and the server with it.
        let _ = exit.wait_for(Option::is_some).await;
    }

    fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }

    /// SIGINT (disconnects clients, writes a checkpoint), then harder.
    pub(super) async fn stop(self) -> Result<(), ClusterError> {
        for (signal, patience) in STOP_STEPS {
            self.signal(signal);
            if tokio::time::timeout(patience, self.exited()).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(pid = self.pid, %signal, "embedded database server does not end");
        }
        Err(ClusterError::WillNotStop { pid: self.pid })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGINT);
    }
}
