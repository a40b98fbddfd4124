//! What a caller may choose when it opens a cluster, and what it is told.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// What the cluster must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Power loss: every acknowledged commit is on disk.
    #[default]
    Durable,
    /// A killed server, but not a lost machine: for tests. Commits are still
    /// acknowledged only once written, so `kill -9` loses none of them.
    TestFast,
}

/// A step on the way to a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Another process opens or stops the cluster at this moment.
    Waiting,
    /// The data directory is being made.
    Initialising,
    /// The server has been started.
    Starting,
    /// The server of another process is used.
    Adopted,
    /// The server answers.
    Ready(Duration),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for another process to let go of the database"),
            Self::Initialising => f.write_str("making a new database cluster"),
            Self::Starting => f.write_str("starting the database server"),
            Self::Adopted => f.write_str("using the database server that already runs"),
            Self::Ready(took) => write!(f, "database ready after {} ms", took.as_millis()),
        }
    }
}

/// Receives each step.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How to open a cluster.
#[derive(Clone)]
pub struct ClusterOptions {
    pub(super) dir: PathBuf,
    pub(super) durability: Durability,
    pub(super) patience: Duration,
    progress: Option<ProgressFn>,
}

impl ClusterOptions {
    /// A durable cluster that has `dir` to itself; it is created when absent.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::Durable,
            // Recovery after a crash under load may replay a gigabyte of log.
            patience: Duration::from_mins(2),
            progress: None,
        }
    }

    /// Sets what the cluster must survive.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how long opening may take in all.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Reports each step to `report`.
    pub fn on_progress(mut self, report: ProgressFn) -> Self {
        self.progress = Some(report);
        self
    }

    pub(super) fn report(&self, step: Progress) {
        tracing::info!(dir = %self.dir.display(), "{step}");
        if let Some(report) = &self.progress {
            report(step);
        }
    }
}

impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("dir", &self.dir)
            .field("durability", &self.durability)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
