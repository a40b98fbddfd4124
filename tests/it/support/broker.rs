//! A private RabbitMQ broker: own node name, own epmd, own directories, on
//! 127.0.0.1 only. It may be killed, frozen and started again at will, and it
//! dies with the process that started it.
//!
//! `RUNNING_UNDER_SYSTEMD=1` makes the start script exec: without it, the
//! script's death would leave the broker behind.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long a start may take on a loaded machine.
const START: Duration = Duration::from_secs(90);

/// Where the server programs are; `.ci/install-rabbitmq` names the folder.
fn programs() -> Result<PathBuf> {
    let named = std::env::var_os("RABBITMQ_BIN_DIR").map(PathBuf::from);
    let usual = [
        "/usr/lib/rabbitmq/bin",
        "/opt/homebrew/opt/rabbitmq/sbin",
        "/usr/local/opt/rabbitmq/sbin",
    ];
    named
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find(|dir| dir.join("rabbitmq-server").exists() && dir.join("rabbitmqctl").exists())
        .context("RabbitMQ server programs are missing: run .ci/install-rabbitmq, or set RABBITMQ_BIN_DIR")
}

/// Certificates for a broker that also speaks TLS, PEM.
pub struct ServerTls {
    /// The authority that signed the certificate.
    pub ca: String,
    /// The certificate for 127.0.0.1.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A broker. Dropping it kills it.
pub struct Broker {
    dir: PathBuf,
    programs: PathBuf,
    /// Plain AMQP.
    pub port: u16,
    /// AMQP over TLS, if there is a certificate.
    pub tls_port: u16,
    epmd_port: u16,
    dist_port: u16,
    server: Option<Process>,
    _epmd: Process,
}

impl Broker {
    /// Starts one in an empty directory and waits until it answers.
    pub async fn start(dir: PathBuf, tls: Option<&ServerTls>) -> Result<Self> {
        let programs = programs()?;
        let [port, tls_port, epmd_port, dist_port] = free_ports()?;
        for folder in ["mnesia", "log"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let cookie = dir.join(".erlang.cookie");
        fs::write(&cookie, format!("VZSYNCTEST{}", std::process::id()))?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        fs::write(dir.join("enabled_plugins"), "[].")?;
        fs::write(dir.join("env.conf"), "")?;
        fs::write(dir.join("rabbitmq.conf"), configuration(&dir, tls_port, tls)?)?;
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"]);
        let epmd = Process::spawn(&epmd, &dir.join("epmd.out")).context("starting epmd")?;
        let mut broker =
            Self { dir, programs, port, tls_port, epmd_port, dist_port, server: None, _epmd: epmd };
        broker.run().await?;
        Ok(broker)
    }

    /// Starts the server again after [`Broker::kill`].
    pub async fn run(&mut self) -> Result<()> {
        let out = self.dir.join("out");
        let said_before = fs::metadata(&out).map_or(0, |about| about.len() as usize);
        let server = Process::spawn(&self.command("rabbitmq-server"), &out)?;
        let deadline = Instant::now() + START;
        // It speaks AMQP a moment before rabbitmqctl may talk to it, and nothing
        // but its own words tell when a start is complete.
        let has_started = || {
            let said = fs::read(&out).unwrap_or_default();
            let new = String::from_utf8_lossy(said.get(said_before..).unwrap_or_default());
            new.contains("completed with")
        };
        while !(has_started() && answers(self.port).await) {
            let log = self.dir.join("log/rabbit.log");
            ensure!(!server.has_ended(), "the broker ended at once; see {}", log.display());
            ensure!(Instant::now() < deadline, "the broker is silent; see {}", log.display());
            sleep(Duration::from_millis(50)).await;
        }
        self.server = Some(server);
        Ok(())
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal(Signal::SIGKILL);
            server.ended().await;
        }
    }

    /// SIGSTOP: it holds its sockets and says nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        self.server.as_ref().expect("the broker runs").signal(signal);
    }

    /// `rabbitmqctl`, with its output.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command("rabbitmqctl");
        command.arg("-n").arg(self.node()).args(arguments).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("rabbitmqctl {arguments:?}: {said}{error}");
        }
        Ok(said)
    }

    /// Makes vhosts of these names, open to `guest`. One call: each costs as
    /// much as the start of an Erlang machine.
    pub async fn add_vhosts(&self, names: &[String]) -> Result<()> {
        let list: Vec<String> = names.iter().map(|name| format!("<<\"{name}\">>")).collect();
        let add = format!(
            "[begin ok = rabbit_vhost:add(V, <<\"test\">>), \
             ok = rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, V, \
             <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>) end || V <- [{}]], ok.",
            list.join(",")
        );
        self.ctl(&["eval", &add]).await.map(drop)
    }

    /// Writes to disk what the broker knows of its queues. A quorum queue that
    /// was declared shortly before a kill -9 may find no leader after it.
    pub async fn settle_on_disk(&self) -> Result<()> {
        let sync = "[dets:sync(Table) || Table <- dets:all()], mnesia:sync_log(), ok.";
        self.ctl(&["eval", sync]).await.map(drop)
    }

    /// The URL of a vhost.
    pub fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.port)
    }

    fn node(&self) -> String {
        format!("vz{}@localhost", self.port)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        // RABBITMQ_* of the caller's shell must not reach it.
        command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8");
        let dir = &self.dir;
        for (name, value) in [
            ("HOME", dir.clone()),
            ("RABBITMQ_MNESIA_BASE", dir.join("mnesia")),
            ("RABBITMQ_LOG_BASE", dir.join("log")),
            ("RABBITMQ_LOGS", dir.join("log/rabbit.log")),
            ("RABBITMQ_PID_FILE", dir.join("pid")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins")),
            ("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq")),
            ("RABBITMQ_CONF_ENV_FILE", dir.join("env.conf")),
        ] {
            command.env(name, value);
        }
        for (name, value) in [
            ("ERL_EPMD_PORT", self.epmd_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", self.node()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", self.port.to_string()),
            ("RABBITMQ_DIST_PORT", self.dist_port.to_string()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1".to_owned(),
            ),
            ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
        ] {
            command.env(name, value);
        }
        command
    }
}

fn configuration(dir: &Path, tls_port: u16, tls: Option<&ServerTls>) -> Result<String> {
    let mut lines = vec![
        "log.console = false".to_owned(),
        "vm_memory_high_watermark.absolute = 400MB".to_owned(),
        "disk_free_limit.absolute = 50MB".to_owned(),
    ];
    if let Some(tls) = tls {
        for (name, text) in [("ca", &tls.ca), ("cert", &tls.certificate), ("key", &tls.key)] {
            fs::write(dir.join(name), text)?;
        }
        lines.extend([
            format!("listeners.ssl.local = 127.0.0.1:{tls_port}"),
            format!("ssl_options.cacertfile = {}", dir.join("ca").display()),
            format!("ssl_options.certfile = {}", dir.join("cert").display()),
            format!("ssl_options.keyfile = {}", dir.join("key").display()),
        ]);
    }
    Ok(lines.join("\n") + "\n")
}

/// Four ports that were free a moment ago.
fn free_ports() -> Result<[u16; 4]> {
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Whether AMQP is spoken there.
async fn answers(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    };
    matches!(timeout(Duration::from_secs(5), ask).await, Ok(Ok(1)))
}

/// A child of a thread of its own: `--pdeathsig` follows the thread.
struct Process {
    pid: Pid,
    /// True once reaped; signals are sent under this lock, never to a pid that
    /// may be another's by now.
    reaped: Arc<Mutex<bool>>,
    ended: watch::Receiver<bool>,
}

impl Process {
    fn spawn(command: &Command, output: &Path) -> Result<Self> {
        let mut command = tied_to_us(command);
        let output = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let (started, start) = mpsc::channel();
        let (told, ended) = watch::channel(false);
        let reaped = Arc::new(Mutex::new(false));
        let shared = Arc::clone(&reaped);
        std::thread::Builder::new().name("vz-test-parent".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let pid = Pid::from_raw(child.id().cast_signed());
            let _ = started.send(Ok(pid));
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
            let mut reaped = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = child.wait();
            *reaped = true;
            let _ = told.send(true);
        })?;
        let pid = start.recv()??;
        Ok(Self { pid, reaped, ended })
    }

    fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = kill(self.pid, signal);
        }
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    async fn ended(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The same command, killed with us where setpriv is at hand.
fn tied_to_us(command: &Command) -> Command {
    let can = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut tied = if can {
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL"]).arg(command.get_program());
        tied
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            tied.env(name, value);
        }
    }
    tied
}
