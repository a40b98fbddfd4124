//! One connection to the broker, made anew whenever it breaks.
//!
//! A link is up only when the topology was asserted over it. It notices its
//! end by the broker's word, a failed socket or a missing heartbeat, and it
//! hears when the broker blocks it because of an alarm.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Connection, Event};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use vz_sync_actors::ports::{PortError, PortResult};

use super::address::Address;
use super::counters::Counters;
use super::error::{unavailable, words};
use super::options::RabbitOptions;
use super::topology;
use super::wire::{Wire, dial};

/// lapin tells of errors, but not of every clean close by the broker.
const LOOK: Duration = Duration::from_millis(500);

/// Time for a clean close.
const CLOSE: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    Consume,
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// How a connection stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkStatus {
    /// The first attempt is under way.
    Starting,
    /// Connected, topology asserted.
    Up,
    /// Connected, but the broker takes nothing because of an alarm.
    Blocked {
        /// The broker's word: low on memory or on disk.
        reason: String,
    },
    /// Not connected; attempts go on.
    Down {
        /// Why.
        reason: String,
    },
}

#[derive(Debug, Clone)]
enum State {
    Starting,
    Down(PortError),
    Up(Arc<Session>),
}

/// One life of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Why the broker blocks it, while it does.
    blocked: watch::Sender<Option<Arc<str>>>,
    wire: Arc<Wire>,
}

impl Session {
    /// Why the broker takes nothing, if that is so.
    pub(super) fn blocked(&self) -> Option<Arc<str>> {
        self.blocked.borrow().clone()
    }

    /// Resolves when the broker blocks the connection.
    pub(super) async fn until_blocked(&self) -> Arc<str> {
        let mut blocked = self.blocked.subscribe();
        let seen = blocked.wait_for(Option::is_some).await;
        // The sender is ours, so there is always an answer.
        seen.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    /// Resolves with the reason when the connection has ended.
    async fn ended(&self, purpose: Purpose, counters: &Counters) -> String {
        let mut events = std::pin::pin!(self.connection.events_listener().fuse());
        // What was said before anybody listened is not told again.
        if self.connection.status().blocked() {
            self.blocked.send_replace(Some("an alarm since before we listened".into()));
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut why = "the broker closed the connection".to_owned();
        loop {
            tokio::select! {
                Some(event) = events.next() => match event {
                    Event::ConnectionBlocked(reason) => {
                        counters.blocked.add();
                        tracing::warn!(event = "vz_sync_amqp_blocked", kind = purpose.word(), reason = %reason, "the broker takes no messages");
                        self.blocked.send_replace(Some(reason.into()));
                    }
                    Event::ConnectionUnblocked => {
                        tracing::info!(event = "vz_sync_amqp_unblocked", kind = purpose.word(), "the broker takes messages again");
                        self.blocked.send_replace(None);
                    }
                    Event::Error(error) => why = error.to_string(),
                    _ => {}
                },
                _ = look.tick() => {}
            }
            if !self.connection.status().connected() {
                return why;
            }
        }
    }

    async fn close(&self) {
        let closing = self.connection.close(200, "OK".into());
        if !matches!(timeout(CLOSE, closing).await, Ok(Ok(()))) {
            self.wire.hang_up();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A blocked connection could not even say that it closes.
        if self.blocked().is_some() {
            self.wire.hang_up();
        }
    }
}

/// Keeps a connection. It ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    stop: CancellationToken,
    _task: Arc<DropGuard>,
}

impl Link {
    /// Starts connecting in a task of its own.
    pub(super) fn open(
        purpose: Purpose,
        address: Address,
        options: RabbitOptions,
        counters: Arc<Counters>,
    ) -> Self {
        let (told, state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let keeper = Keeper { purpose, address, options, counters, told };
        let stopped = stop.clone();
        tokio::spawn(async move {
            let _ = stopped.run_until_cancelled(keeper.keep()).await;
        });
        Self { state, stop, _task: Arc::new(guard) }
    }

    /// The connection, if it is up. Never waits: who may wait tries again.
    pub(super) fn session(&self) -> PortResult<Arc<Session>> {
        match &*self.state.borrow() {
            State::Up(session) => Ok(Arc::clone(session)),
            State::Starting => Err(unavailable("not connected yet")),
            State::Down(why) => Err(unavailable(format!("not connected: {}", words(why)))),
        }
    }

    /// Waits for the outcome of the first attempt.
    pub(super) async fn first_attempt(&self) -> PortResult<()> {
        let mut state = self.state.clone();
        let seen = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match seen.as_deref() {
            Ok(State::Down(why)) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// Waits until it is up.
    pub(super) async fn up(&self) {
        let _ = self.state.clone().wait_for(|state| matches!(state, State::Up(_))).await;
    }

    pub(super) fn status(&self) -> LinkStatus {
        match &*self.state.borrow() {
            State::Starting => LinkStatus::Starting,
            State::Down(why) => LinkStatus::Down { reason: words(why).to_owned() },
            State::Up(session) => session.blocked().map_or(LinkStatus::Up, |reason| {
                LinkStatus::Blocked { reason: reason.to_string() }
            }),
        }
    }

    /// Closes the connection; nothing is made anew after it.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        if let Ok(session) = self.session() {
            session.close().await;
        }
    }
}

struct Keeper {
    purpose: Purpose,
    address: Address,
    options: RabbitOptions,
    counters: Arc<Counters>,
    told: watch::Sender<State>,
}

impl Keeper {
    async fn keep(&self) {
        let kind = self.purpose.word();
        let host = self.address.host();
        let mut pause = self.options.first_pause;
        let mut is_told = false;
        loop {
            match self.connect().await {
                Ok(session) => {
                    (pause, is_told) = (self.options.first_pause, false);
                    self.counters.connected.add();
                    tracing::info!(
                        event = "vz_sync_amqp_connected",
                        kind,
                        host,
                        "connected to the broker"
                    );
                    self.told.send_replace(State::Up(Arc::clone(&session)));
                    let why = session.ended(self.purpose, &self.counters).await;
                    tracing::warn!(event = "vz_sync_amqp_lost", kind, host, reason = %why, "lost the connection to the broker");
                    self.told.send_replace(State::Down(unavailable(why)));
                }
                Err(error) => {
                    // An outage is told once, not at every attempt.
                    if !is_told {
                        tracing::warn!(event = "vz_sync_amqp_connect_failed", kind, host, %error, "no connection to the broker; attempts go on");
                    }
                    is_told = true;
                    self.told.send_replace(State::Down(error));
                }
            }
            sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(self.options.longest_pause);
        }
    }

    async fn connect(&self) -> PortResult<Arc<Session>> {
        let name = format!("{} {}", self.options.name, self.purpose.word());
        let (connection, wire) = dial(&self.address, &name, &self.options).await?;
        let session = Arc::new(Session { connection, blocked: watch::Sender::new(None), wire });
        let asserted = topology::assert(&session.connection, self.options.topology).await;
        match asserted {
            Ok(differences) => topology::tell(&differences),
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        }
        self.counters.asserted.add();
        Ok(session)
    }
}
