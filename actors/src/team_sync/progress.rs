//! Tells of a run: to operators by its actor, to subscribers by passing
//! events at most once a second.

use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::domain::event::{Phase, Progress, Started};
use crate::domain::{Event, EventBody, Mode};
use crate::parts::Parts;
use crate::ports::store::Lease;

/// Least time between two tellings of one phase.
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

/// The teller of one run.
pub(super) struct Teller {
    parts: Parts,
    show: Show,
    view: Mutex<(RunView, Instant)>,
    team: crate::domain::TeamId,
    scope: crate::domain::Scope,
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
            view: Mutex::new((view, Instant::now())),
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

    /// The run entered a phase: always told.
    pub(super) async fn enter(&self, phase: Phase, total: Option<u64>) {
        self.advance(|view| {
            view.phase = phase;
            view.done = 0;
            view.total = total;
            true
        })
        .await;
    }

    /// The run got further: told when the last telling is old enough.
    pub(super) async fn done(&self, done: u64) {
        self.advance(|view| {
            view.done = done;
            false
        })
        .await;
    }

    async fn advance(&self, change: impl FnOnce(&mut RunView) -> bool) {
        let told = {
            let mut guard = self.view.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let (view, last) = &mut *guard;
            let always = change(view);
            if !always && last.elapsed() < EVERY {
                return;
            }
            *last = Instant::now();
            view.clone()
        };
        (self.show)(told.clone());
        self.tell(EventBody::Progress(Progress {
            job_id: crate::domain::JobId(told.job_id),
            scope: self.scope,
            phase: told.phase,
            done: told.done,
            total: told.total,
        }))
        .await;
    }

    async fn tell(&self, body: EventBody) {
        let event = Event { team_id: self.team, no: None, at: self.parts.ports.clock.wall(), body };
        // A passing event that is lost is not missed.
        let _ = self.parts.ports.event_bus.tell(&event).await;
    }
}
