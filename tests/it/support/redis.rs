//! A Redis server of a test's own, to be killed and started again at will.
//!
//! It listens on 127.0.0.1, on a port that was free a moment ago, keeps its
//! files in a directory of its own and logs to a file. Its parent is a thread
//! that lives as long as the value, so `setpriv --pdeathsig` ends it with the
//! process, however that ends. `REDIS_SERVER` names the program, else PATH.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::aio::MultiplexedConnection;
use secrecy::SecretString;
use tokio::sync::oneshot;
use vz_sync::adapters::redis::{RedisOptions, RedisPool};

/// Twenty milliseconds is usual; a loaded machine is slow.
const START: Duration = Duration::from_secs(20);
/// The line that it logs when it takes connections.
const READY: &str = "Ready to accept connections";

/// A running server.
pub struct RedisServer {
    port: u16,
    dir: PathBuf,
    settings: Vec<String>,
    orders: Option<mpsc::Sender<Order>>,
    parent: Option<JoinHandle<()>>,
}

enum Order {
    Start(Box<Command>, oneshot::Sender<std::io::Result<()>>),
    /// Answers whether it still ran.
    Signal(Signal, oneshot::Sender<bool>),
    /// Sends the signal and waits for the end.
    End(Signal, oneshot::Sender<()>),
}

impl RedisServer {
    /// A server that keeps nothing on disk and lets everybody in.
    pub async fn start() -> Self {
        Self::with(|_| Vec::new()).await
    }

    /// The same with settings of its own, as on the command line; they may
    /// name files in its directory.
    pub async fn with(settings: impl FnOnce(&Path) -> Vec<String>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vz-test-redis-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory for the server");
        let settings = settings(&dir);
        let (orders, queue) = mpsc::channel();
        let parent = thread::Builder::new()
            .name("vz-redis-parent".into())
            .spawn(move || obey(&queue))
            .expect("a thread");
        let mut server =
            Self { port: 0, dir, settings, orders: Some(orders), parent: Some(parent) };
        // Between looking for a free port and taking it, another may take it.
        for _ in 0..5 {
            server.port = free_port();
            if server.start_again().await {
                return server;
            }
        }
        panic!("no start on five ports: {}", server.log());
    }

    /// Starts it on the same port, after [`RedisServer::kill`]. False when it
    /// ended at once.
    pub async fn start_again(&self) -> bool {
        let before = self.log().matches(READY).count();
        let (reply, started) = oneshot::channel();
        self.order(Order::Start(Box::new(self.command()), reply));
        started.await.expect("the parent lives").expect("redis-server starts");
        let up = async {
            while self.log().matches(READY).count() == before {
                if !self.signal(None).await {
                    return false;
                }
                // A log tells nobody that it grew.
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            true
        };
        tokio::time::timeout(START, up).await.unwrap_or_else(|_| panic!("slow: {}", self.log()))
    }

    fn command(&self) -> Command {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = if has_setpriv() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let port = self.port.to_string();
        let over_tls = self.settings.iter().any(|setting| setting == "--tls-cert-file");
        let ports = if over_tls { ["0", "--tls-port", &port] } else { [&port, "--tls-port", "0"] };
        command.args(["--bind", "127.0.0.1", "--port"]).args(ports);
        command.arg("--dir").arg(&self.dir).args(["--save", "", "--appendonly", "no"]);
        command.args(&self.settings);
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
        command
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Kills it with SIGKILL: all it holds is gone.
    pub async fn kill(&self) {
        let (reply, ended) = oneshot::channel();
        self.order(Order::End(Signal::SIGKILL, reply));
        ended.await.expect("the parent lives");
    }

    /// Freezes it with SIGSTOP, or thaws it with SIGCONT.
    pub async fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        assert!(self.signal(Some(signal)).await, "the server runs");
    }

    /// Sends a signal; without one only looks whether the server runs.
    async fn signal(&self, signal: Option<Signal>) -> bool {
        let (reply, ran) = oneshot::channel();
        // SIGCONT does nothing to a process that runs.
        self.order(Order::Signal(signal.unwrap_or(Signal::SIGCONT), reply));
        ran.await.expect("the parent lives")
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("it is not dropped yet");
        orders.send(order).expect("the parent lives");
    }

    /// A connection for the test itself.
    pub async fn client(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{}/", self.address())).expect("a URL");
        let mut connection =
            client.get_multiplexed_async_connection().await.expect("the server answers");
        connection.set_response_timeout(START);
        connection
    }

    /// A pool as the adapters use it, patient with a loaded machine.
    pub fn pool(&self) -> RedisPool {
        pool_to(self.address(), START)
    }
}

/// A pool to any address.
pub fn pool_to(address: SocketAddr, deadline: Duration) -> RedisPool {
    let url = SecretString::from(format!("redis://{address}/"));
    RedisPool::open(&url, &RedisOptions { deadline, ..RedisOptions::default() }).expect("a pool")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Without orders the parent ends, and its child before it.
        self.orders.take();
        if let Some(parent) = self.parent.take() {
            let _ = parent.join();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The parent's life. Only it reaps the child, so no signal can meet a
/// stranger that was given the same process id.
fn obey(orders: &mpsc::Receiver<Order>) {
    let mut child: Option<Child> = None;
    for order in orders {
        match order {
            Order::Start(mut command, reply) => {
                let _ = reply.send(command.spawn().map(|started| child = Some(started)));
            }
            Order::Signal(signal, reply) => {
                let _ = reply.send(child.as_mut().is_some_and(|child| tell(child, signal)));
            }
            Order::End(signal, reply) => {
                end(child.take(), signal);
                let _ = reply.send(());
            }
        }
    }
    end(child, Signal::SIGKILL);
}

fn tell(child: &mut Child, signal: Signal) -> bool {
    let runs = matches!(child.try_wait(), Ok(None));
    if runs {
        let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
    }
    runs
}

fn end(child: Option<Child>, signal: Signal) {
    if let Some(mut child) = child {
        tell(&mut child, signal);
        let _ = child.wait();
    }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    probe.local_addr().expect("it has an address").port()
}

fn has_setpriv() -> bool {
    let mut ask = Command::new("setpriv");
    let asked = ask.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Removes the directories of test processes that have ended.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let rest = name.strip_prefix("vz-test-redis-");
        if let Some(pid) = rest.and_then(|rest| rest.split('-').next())
            && !Path::new("/proc").join(pid).exists()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
