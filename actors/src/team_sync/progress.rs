//! Tells of a run: to operators by its actor, to subscribers by passing
//! events at most once a second.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::event::{Phase, Progress, Started};
use crate::domain::{Event, EventBody, Mode};
use crate::parts::Parts;
use crate::ports::store::Lease;

/// Least time between two tellings of one run.
const EVERY: Duration = Duration::from_secs(1);

/// What operators see of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// The job.
    pub job_id: i64,
    /// Full or delta.
    pub mode: Mode,
    /// Where it is.
    pub phase: Phase,
    /// Elements done in this phase.
    pub done: u64,
    /// Elements expected.
    pub total: Option<u64>,
    /// The fence of its lease.
    pub fence: i64,
    /// Which attempt.
    pub attempt: u32,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
}

/// Shows a view to the actor that owns the run.
pub(super) type Show = Box<dyn Fn(RunView) + Send + Sync>;

/// The teller of one run. Subscribers hear of it at most once in [`EVERY`]: what
/// comes sooner waits, and only the newest of it is told when its time is up.
/// At the end nothing is made up for, since the end itself is told.
pub(super) struct Teller {
    parts: Parts,
    show: Show,
    board: Mutex<Board>,
    /// Something waits to be told.
    waits: Notify,
    team: crate::domain::TeamId,
    scope: crate::domain::Scope,
}

struct Board {
    view: RunView,
    told_at: Instant,
    /// Whether the view is newer than what was told.
    unsent: bool,
}

impl Teller {
    /// Announces a run and returns its teller.
    pub(super) async fn begin(parts: &Parts, lease: &Lease, show: Show) -> Self {
        let view = RunView {
            job_id: lease.name.job.0,
            mode: lease.mode,
            phase: Phase::Lock,
            done: 0,
            total: lease.expected,
            fence: lease.name.fence.0,
            attempt: lease.attempt,
            started_at: parts.ports.clock.wall(),
        };
        show(view.clone());
        let this = Self {
            parts: parts.clone(),
            show,
            board: Mutex::new(Board { view, told_at: Instant::now(), unsent: false }),
            waits: Notify::new(),
            team: lease.name.key.team,
            scope: lease.name.key.scope,
        };
        this.tell(EventBody::Started(Started {
            job_id: lease.name.job,
            scope: this.scope,
            mode: lease.mode,
            attempt: lease.attempt,
        }))
        .await;
        this
    }

    /// The run entered a phase: operators see it at once.
    pub(super) async fn enter(&self, phase: Phase, total: Option<u64>) {
        let view = {
            let view = &mut self.board().view;
            (view.phase, view.done, view.total) = (phase, 0, total);
            view.clone()
        };
        (self.show)(view);
        self.moved().await;
    }

    /// The run got further.
    pub(super) async fn done(&self, done: u64) {
        self.board().view.done = done;
        self.moved().await;
    }

    /// Tells what waits when its time is up; never returns.
    pub(super) async fn keep_up(&self) -> Infallible {
        loop {
            let due = {
                let board = self.board();
                board.unsent.then(|| board.told_at + EVERY)
            };
            match due {
                None => self.waits.notified().await,
                Some(due) => {
                    tokio::time::sleep_until(due).await;
                    self.tell_if_due().await;
                }
            }
        }
    }

    async fn moved(&self) {
        self.board().unsent = true;
        if !self.tell_if_due().await {
            self.waits.notify_one();
        }
    }

    /// Tells the newest view unless that would be too soon, or nothing new.
    async fn tell_if_due(&self) -> bool {
        let view = {
            let mut board = self.board();
            if !board.unsent || board.told_at.elapsed() < EVERY {
                return false;
            }
            (board.told_at, board.unsent) = (Instant::now(), false);
            board.view.clone()
        };
        (self.show)(view.clone());
        self.tell(EventBody::Progress(Progress {
            job_id: crate::domain::JobId(view.job_id),
            scope: self.scope,
            phase: view.phase,
            done: view.done,
            total: view.total,
        }))
        .await;
        true
    }

    async fn tell(&self, body: EventBody) {
        let event = Event { team_id: self.team, no: None, at: self.parts.ports.clock.wall(), body };
        // A passing event that is lost is not missed.
        let _ = self.parts.ports.event_bus.tell(&event).await;
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
