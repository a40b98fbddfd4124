//! The signals port over LISTEN/NOTIFY.
//!
//! A signal of this process reaches its own listeners at once, in memory, and
//! the other replicas through one dedicated connection. That connection is
//! made anew whenever it breaks, with backoff; listeners then hear `Lagged`,
//! since whatever was said meanwhile is gone. A burst travels once: what waits
//! to be sent is a set.
//!
//! A payload is `due`, `queue`, `outbox:TEAM` or `runs:TEAM`, followed by the
//! replica that sent it, which ignores its own echo. One without a replica is
//! for everybody: [`notify`] sends it inside a transaction.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use vz_sync_actors::domain::{ReplicaId, TeamId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::signals::{Heard, Signal, SignalListener, Signals};

use super::call::Work;
use super::connect::Connector;
use super::error::told;

/// The channel that all replicas of a database share.
pub const CHANNEL: &str = "vz_sync";
/// How the connection calls itself in `pg_stat_activity`.
pub const APPLICATION: &str = "vz-sync signals";

/// Enough for a burst of applies; who falls further behind looks at everything.
const CAPACITY: usize = 1024;
/// Distinct signals that wait for a connection; past that they are lost, as signals may be.
const WAITING: usize = 10_000;
/// Time for any answer on the connection, and the idle time after which one is asked for.
const DEADLINE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Wakes listeners of all replicas. The connection ends with the last clone.
#[derive(Debug, Clone)]
pub struct PgSignals {
    shared: Arc<Shared>,
    connected: watch::Receiver<bool>,
    _task: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    me: ReplicaId,
    heard: broadcast::Sender<Heard>,
    waiting: Mutex<HashSet<Signal>>,
    moved: Notify,
}

impl PgSignals {
    /// Starts listening in a task of its own; answers at once, connected or not.
    pub fn new(at: impl Into<Connector>, me: ReplicaId) -> Self {
        let at = at.into();
        let shared = Arc::new(Shared {
            me,
            heard: broadcast::Sender::new(CAPACITY),
            waiting: Mutex::default(),
            moved: Notify::new(),
        });
        let (connected, watched) = watch::channel(false);
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let task = keep_connected(at, Arc::clone(&shared), connected);
        tokio::spawn(async move {
            let _ = stop.run_until_cancelled(task).await;
        });
        Self { shared, connected: watched, _task: Arc::new(guard) }
    }

    /// Waits until signals of other replicas are heard.
    pub async fn connected(&self) {
        let _ = self.connected.clone().wait_for(|connected| *connected).await;
    }
}

impl Signals for PgSignals {
    fn send(&self, signal: Signal) {
        // An error only says that nobody listens.
        let _ = self.shared.heard.send(Heard::Signal(signal));
        let mut waiting = self.shared.waiting();
        if waiting.len() < WAITING {
            waiting.insert(signal);
        }
        drop(waiting);
        self.shared.moved.notify_one();
    }

    fn listen(&self) -> Box<dyn SignalListener> {
        Box::new(Listener(self.shared.heard.subscribe()))
    }
}

struct Listener(broadcast::Receiver<Heard>);

#[async_trait]
impl SignalListener for Listener {
    async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(heard) => heard,
            Err(RecvError::Lagged(_)) => Heard::Lagged,
            Err(RecvError::Closed) => Heard::Closed,
        }
    }
}

/// Sends a signal to all replicas with the commit of a transaction.
pub(super) async fn notify(work: &Work<'_>, signal: Signal) -> PortResult<()> {
    work.run("SELECT pg_notify($1, $2)", &[&CHANNEL, &word(signal)]).await?;
    Ok(())
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashSet<Signal>> {
        // A set of hints is whole after any panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, payload: &str) {
        let (word, sender) = payload.split_once(' ').unwrap_or((payload, ""));
        if sender == self.me.to_string() {
            return;
        }
        if let Some(signal) = read(word) {
            let _ = self.heard.send(Heard::Signal(signal));
        }
    }
}

async fn keep_connected(at: Connector, shared: Arc<Shared>, connected: watch::Sender<bool>) {
    let mut config = at.config().clone();
    config.application_name(APPLICATION).connect_timeout(DEADLINE);
    let mut pause = FIRST_PAUSE;
    let mut before = false;
    loop {
        match listen(&at, &config, &shared).await {
            Ok((client, pump)) => {
                pause = FIRST_PAUSE;
                if before {
                    let _ = shared.heard.send(Heard::Lagged);
                }
                before = true;
                connected.send_replace(true);
                serve(&client, pump, &shared).await;
                connected.send_replace(false);
                tracing::warn!("the connection for signals broke; polling repairs what is missed");
            }
            Err(reason) => tracing::debug!(%reason, "no connection for signals yet"),
        }
        sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Connects and listens; the pump ends when the connection does.
async fn listen(
    at: &Connector,
    config: &Config,
    shared: &Arc<Shared>,
) -> Result<(Client, AbortOnDropHandle<()>), String> {
    let connecting = timeout(DEADLINE, at.open(config)).await;
    let (client, mut messages) =
        connecting.map_err(|_| "time-out".to_owned())?.map_err(|error| told(&error))?;
    let hearing = Arc::clone(shared);
    let pump = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                hearing.hear(notification.payload());
            }
        }
    }));
    let asked = timeout(DEADLINE, client.batch_execute(&format!("LISTEN {CHANNEL}"))).await;
    asked.map_err(|_| "time-out".to_owned())?.map_err(|error| told(&error))?;
    Ok((client, pump))
}

/// Sends what waits until the connection is gone or gives no answer.
async fn serve(client: &Client, mut pump: AbortOnDropHandle<()>, shared: &Shared) {
    loop {
        let batch: Vec<Signal> = shared.waiting().drain().collect();
        let payloads: Vec<String> =
            batch.iter().map(|signal| format!("{} {}", word(*signal), shared.me)).collect();
        // An empty batch asks for an answer all the same: a sign that the other side lives.
        let params: [&(dyn ToSql + Sync); 2] = [&CHANNEL, &payloads];
        let sent = client
            .execute("SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload", &params);
        if !matches!(timeout(DEADLINE, sent).await, Ok(Ok(_))) {
            shared.waiting().extend(batch);
            return;
        }
        tokio::select! {
            _ = &mut pump => return,
            () = shared.moved.notified() => {}
            () = sleep(IDLE) => {}
        }
    }
}

fn word(signal: Signal) -> String {
    match signal {
        Signal::StatesDue => "due".to_owned(),
        Signal::QueueMoved => "queue".to_owned(),
        Signal::Outbox(team) => format!("outbox:{team}"),
        Signal::RunsChanged(team) => format!("runs:{team}"),
    }
}

/// `None` for a word of a newer version: whoever needs it polls.
fn read(word: &str) -> Option<Signal> {
    match word {
        "due" => Some(Signal::StatesDue),
        "queue" => Some(Signal::QueueMoved),
        _ => {
            let (kind, team) = word.split_once(':')?;
            let team = TeamId(team.parse().ok()?);
            match kind {
                "outbox" => Some(Signal::Outbox(team)),
                "runs" => Some(Signal::RunsChanged(team)),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_and_a_foreign_one_is_nothing() {
        let team = TeamId(42);
        for signal in
            [Signal::StatesDue, Signal::QueueMoved, Signal::Outbox(team), Signal::RunsChanged(team)]
        {
            assert_eq!(read(&word(signal)), Some(signal));
        }
        for foreign in ["", "outbox", "outbox:", "outbox:x", "later:42"] {
            assert_eq!(read(foreign), None, "{foreign}");
        }
    }
}
