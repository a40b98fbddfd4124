//! The words and shapes in which an actor is shown: its path, its state, its last exit.
//!
//! Their JSON is what `/admin/actors` serves, and a golden test.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;

/// Where an actor stands in the tree, as a path: `root/team_pool/42:environments`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ActorId(Arc<str>);

impl ActorId {
    /// The top of a tree.
    pub fn root() -> Self {
        Self("root".into())
    }

    /// The id of a child. A slash in the name becomes an underscore: the path's only separator.
    pub fn child(&self, name: impl fmt::Display) -> Self {
        Self(format!("{}/{}", self.0, name.to_string().replace('/', "_")).into())
    }

    /// The path of the supervisor, if this is not the top.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ActorId {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

/// What an actor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Not up yet: never started, or its `start` is running.
    Starting,
    /// Up, with no message in hand and no tracked task.
    Idle,
    /// Handling a message or running a tracked task.
    Busy,
    /// Failed, and waiting for its restart.
    Backoff,
    /// Asked to stop.
    Stopping,
    /// Ended for good.
    Stopped,
    /// Past its restart intensity.
    Failed,
}

/// Why an incarnation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// `start`, `handle` or `stop` returned an error.
    Error,
    /// One of them panicked.
    Panic,
    /// It was killed, or its task was cancelled.
    Killed,
    /// It stopped because it was asked to.
    Clean,
}

impl ExitCause {
    /// Every cause, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Error, Self::Panic, Self::Killed, Self::Clean];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Killed => "killed",
            Self::Clean => "clean",
        }
    }
}

/// One actor as `/admin/actors` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ActorView {
    /// Its path.
    pub id: ActorId,
    /// Its kind, the metric label.
    pub kind: &'static str,
    /// What it is doing.
    pub state: ActorState,
    /// When this incarnation started.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// How often it was started again.
    pub restarts: u32,
    /// How its previous incarnation ended.
    pub last_exit: Option<ExitView>,
    /// When it will be started again.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_restart_at: Option<OffsetDateTime>,
    /// Its mailbox.
    pub mailbox: MailboxView,
    /// The message in hand.
    pub current_message: Option<CurrentView>,
    /// Tracked tasks that have not reported yet.
    pub tasks: u32,
    /// Since when it has nothing to do; absent while it has.
    #[serde(with = "time::serde::rfc3339::option")]
    pub idle_since: Option<OffsetDateTime>,
    /// What the actor says about itself.
    pub details: serde_json::Value,
}

/// The end of an incarnation.
#[derive(Debug, Clone, Serialize)]
pub struct ExitView {
    /// Why.
    pub cause: ExitCause,
    /// The error, or what the panic said.
    pub message: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A mailbox at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct MailboxView {
    /// Messages waiting.
    pub depth: usize,
    /// The most that ever waited.
    pub high_water: usize,
    /// Age of the oldest waiting message, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Messages it takes before it refuses.
    pub bound: usize,
    /// Messages it refused so far.
    pub rejected: u64,
}

/// The message an actor works on.
#[derive(Debug, Clone, Serialize)]
pub struct CurrentView {
    /// The message's name.
    pub name: &'static str,
    /// For how long, in milliseconds.
    pub since_ms: u64,
}
