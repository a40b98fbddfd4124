//! The binary itself, as a process of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use vz_sync::adapters::postgres::cluster::Cluster;

/// How long a start may take on a loaded machine, database included.
const START: Duration = Duration::from_secs(90);

/// The binary as it is shipped; `make test` names one without test features.
fn path() -> PathBuf {
    std::env::var_os("VZ_SYNC_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_vz-sync")), PathBuf::from)
}

/// A directory of its own, removed with the value. Stop what runs in it first.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("vz-test-bin-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a scratch directory");
        Self(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(sockets) = Cluster::socket_dir_of(&self.0.join("pg")) {
            let _ = fs::remove_dir(sockets);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `vz-sync`. Dropping it kills it.
pub struct Binary {
    child: Child,
    said: Vec<String>,
    log: PathBuf,
}

fn command(args: &[&str], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(path());
    command.args(args).env_clear().envs(environment).kill_on_drop(true);
    for inherited in ["PATH", "HOME", "PG_BIN_DIR"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    command
}

impl Binary {
    /// Starts it and waits until it says `ready` on its standard output. What
    /// it logs goes to `log`, behind what stands there.
    pub async fn start(
        args: &[&str],
        environment: &BTreeMap<String, String>,
        log: &Path,
        ready: &str,
    ) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let mut child = command(args, environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut said = Vec::new();
        let wait = async {
            while let Some(line) = lines.next_line().await.expect("it speaks UTF-8") {
                let is_ready = line.contains(ready);
                said.push(line);
                if is_ready {
                    return true;
                }
            }
            false
        };
        let is_up = timeout(START, wait).await;
        let mut binary = Self { child, said, log: log.to_owned() };
        if is_up != Ok(true) {
            let _ = binary.child.start_kill();
            panic!("{args:?} did not come up: {:?}\n{}", binary.said, binary.logged());
        }
        // A full pipe would stop the process.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        binary
    }

    /// Runs a command to its end, with `input` on its standard input; answers
    /// its standard output and adds its log to `log`.
    pub async fn run(
        args: &[&str],
        environment: &BTreeMap<String, String>,
        log: &Path,
        input: &str,
    ) -> (ExitStatus, String) {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let mut child = command(args, environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that reads nothing may be gone by now.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output =
            timeout(START, child.wait_with_output()).await.expect("it ends").expect("wait");
        (output.status, String::from_utf8(output.stdout).expect("UTF-8"))
    }

    /// What it said on standard output until it was ready.
    pub fn said(&self) -> String {
        self.said.join("\n")
    }

    /// What it logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal and waits, at most so long, for the end.
    pub async fn end(self, signal: Signal, within: Duration) -> ExitStatus {
        let pid = self.child.id().expect("it runs");
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("the signal is sent");
        self.ended(within).await
    }

    /// Waits, at most so long, for the end.
    pub async fn ended(mut self, within: Duration) -> ExitStatus {
        let Ok(status) = timeout(within, self.child.wait()).await else {
            panic!("still there after {within:?}\n{}", self.logged())
        };
        status.expect("wait")
    }
}

/// The process id of the private database server in a data directory.
pub fn server_pid(data_dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(data_dir.join("pg/data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Waits until a process that is not our child is gone.
pub async fn gone(pid: u32, within: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + within;
    while is_running(pid) {
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        // Nothing tells the end of another's child without unsafe code.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// A zombie has ended; only nobody has asked for its status yet.
fn is_running(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state != Some('Z')
}
