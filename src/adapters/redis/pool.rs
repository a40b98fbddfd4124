//! The pool of connections, and how long anything on it may take.
//!
//! Every call has one deadline for all it does: waiting, connecting, trying
//! the connection, asking. A call that passes it costs its connection. After a
//! silence nobody is kept waiting by the next one: calls are refused at once
//! while a task in the background asks for a sign of life.
//!
//! Absent on purpose: repetition. Whoever asks knows whether it is worth it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bb8_redis::{RedisConnectionManager, bb8};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates, Value};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use vz_sync_actors::ports::{PortError, PortResult};

use super::connection::Manager;
use super::error::{Fault, SERVICE};
use super::question::Question;

/// First and longest pause between two signs of life that are asked for.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What may be chosen about the pool.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Connections at most; they are opened when they are needed.
    pub connections: u32,
    /// The longest that a call may take, whatever it waits for. Shorter than
    /// the second that a run gives its hint lock.
    pub deadline: Duration,
    /// Certificates (PEM) that sign the server's, instead of the machine's own.
    pub ca_file: Option<PathBuf>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { connections: 8, deadline: Duration::from_millis(800), ca_file: None }
    }
}

/// Connections to one Redis server. Clones share them.
#[derive(Clone)]
pub struct RedisPool {
    shared: Arc<Shared>,
}

struct Shared {
    connections: bb8::Pool<Manager>,
    connect_failed: watch::Receiver<Option<redis::RedisError>>,
    deadline: Duration,
    /// `host:port`, for people.
    address: String,
    /// Why the server is not asked at the moment.
    silent: Mutex<Option<String>>,
}

impl RedisPool {
    /// Makes a pool for `redis://` or, with TLS, `rediss://`
    /// `[user:password@]host[:port][/database]`. Answers without having
    /// connected; must be called inside a runtime. Errors never show the URL.
    pub fn open(url: &SecretString, options: &RedisOptions) -> PortResult<Self> {
        let info = connection_info(url, options)?;
        let address = info.addr().to_string();
        let manager = RedisConnectionManager::new(info).map_err(refused)?;
        let (failed, connect_failed) = watch::channel(None);
        let connections = bb8::Pool::builder()
            .max_size(options.connections.max(1))
            .connection_timeout(options.deadline)
            // Whoever asks next tries anew, and is told at once when it fails.
            .retry_connection(false)
            .test_on_check_out(true)
            .build_unchecked(Manager::new(manager, options.deadline, failed));
        let silent = Mutex::default();
        let deadline = options.deadline;
        let shared = Shared { connections, connect_failed, deadline, address, silent };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Asks and waits for the answer, at most until the deadline.
    pub(super) async fn ask(&self, question: &Question) -> PortResult<Value> {
        if let Some(reason) = self.shared.silent().clone() {
            let message = format!("{} did not answer lately: {reason}", self.shared.address);
            return Err(PortError::Unavailable { service: SERVICE, message });
        }
        self.shared.ask(question).await.map_err(|fault| {
            if fault.is_silence() {
                self.be_silent(&fault);
            }
            fault.told(question.writes)
        })
    }

    /// Refuses calls until the server gives a sign of life.
    fn be_silent(&self, fault: &Fault) {
        let (Fault::NoConnection(reason) | Fault::NotWelcome(reason) | Fault::NoAnswer(reason)) =
            fault
        else {
            return;
        };
        let known = self.shared.silent().replace(reason.clone());
        if known.is_none() {
            tokio::spawn(listen(Arc::downgrade(&self.shared)));
        }
    }
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPool").field("address", &self.shared.address).finish()
    }
}

impl Shared {
    fn silent(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // One value, whole after any panic.
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, question: &Question) -> Result<Value, Fault> {
        let until = Instant::now() + self.deadline;
        let mut connection = self.connection(until).await?;
        // A caller that gives up in the middle leaves it so.
        connection.spoiled = true;
        let answer = match timeout_at(until, question.put(&mut connection.redis)).await {
            Ok(answer) => answer.map_err(Fault::of_question),
            Err(_) => Err(Fault::NoAnswer(format!("no answer within {:?}", self.deadline))),
        };
        connection.spoiled = answer.as_ref().is_err_and(Fault::spoils_connection);
        answer
    }

    async fn connection(
        &self,
        until: Instant,
    ) -> Result<bb8::PooledConnection<'_, Manager>, Fault> {
        let mut connect_failed = self.connect_failed.clone();
        connect_failed.mark_unchanged();
        let refused = async {
            connect_failed.changed().await.ok()?;
            connect_failed.borrow().clone()
        };
        let waited = || Fault::NoConnection(format!("no connection within {:?}", self.deadline));
        let had = async {
            tokio::select! {
                biased;
                had = self.connections.get() => had.map_err(|error| match error {
                    bb8::RunError::User(error) => Fault::of_connect(&error),
                    bb8::RunError::TimedOut => waited(),
                }),
                Some(error) = refused => Err(Fault::of_connect(&error)),
            }
        };
        timeout_at(until, had).await.unwrap_or_else(|_| Err(waited()))
    }
}

/// Asks for a sign of life until there is one, or nobody is left to care.
async fn listen(shared: Weak<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let Some(shared) = shared.upgrade() else { return };
        let mut ping = redis::pipe();
        ping.cmd("PING");
        match shared.ask(&Question::reading(ping)).await {
            // It lives, even if it refuses: the next caller is told itself.
            Ok(_) | Err(Fault::Answered(_)) => {
                *shared.silent() = None;
                return;
            }
            Err(_) => {}
        }
    }
}

fn connection_info(url: &SecretString, options: &RedisOptions) -> PortResult<ConnectionInfo> {
    let info = url.expose_secret().into_connection_info().map_err(refused)?;
    let Some(file) = &options.ca_file else { return Ok(info) };
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(told("a CA file is given, but the URL is not rediss://"));
    }
    let root_cert = std::fs::read(file)
        .map_err(|error| told(format!("the CA file {} cannot be read: {error}", file.display())))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
    let client = redis::Client::build_with_tls(info, certificates).map_err(refused)?;
    Ok(client.get_connection_info().clone())
}

/// The driver's words on a URL name what is wrong with it, not what it says.
fn refused(error: redis::RedisError) -> PortError {
    told(error)
}

fn told(message: impl fmt::Display) -> PortError {
    PortError::Refused { service: SERVICE, message: message.to_string() }
}
