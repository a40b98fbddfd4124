//! Wake-ups: "look again now". They carry no facts, may be lost, doubled or
//! late; whoever waits for one also polls.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::TeamId;

/// What is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// A state may have become runnable: for the scheduler.
    StatesDue,
    /// The due queue grew or room was made downstream: for the dispatcher.
    QueueMoved,
    /// A team's outbox grew: for the broadcaster.
    Outbox(TeamId),
    /// Leases of a team's runs were taken away: it was removed, changed its
    /// account, or a run was cancelled. For whoever runs it or tells of it.
    RunsChanged(TeamId),
}

/// Sends and receives wake-ups across replicas.
#[async_trait]
pub trait Signals: Send + Sync + 'static {
    /// Wakes every listener of every replica. Never blocks, never fails: a
    /// lost signal is repaired by the listener's poll.
    fn send(&self, signal: Signal);

    /// Listens from now on.
    fn listen(&self) -> Box<dyn SignalListener>;
}

/// One listener.
#[async_trait]
pub trait SignalListener: Send {
    /// The next signal, or `Lagged` when some were dropped: then look at
    /// everything.
    async fn next(&mut self) -> Heard;
}

/// What a listener heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// One signal.
    Signal(Signal),
    /// Some signals were dropped, or the connection was made anew.
    Lagged,
    /// There will be no more.
    Closed,
}
