//! One supervised child: its seat in the tree, the incarnation in it, and what follows an exit.
//!
//! Supervisor and pool drive the same slot; what a failure means beyond the child is theirs to
//! say. A slot never waits for its child, except when its owner ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ractor::ActorCell;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::behaviour::{ActorError, Behaviour, ChildExit};
use super::host::{Seed, spawn};
use super::line::Address;
use super::mailbox::Mailbox;
use super::panic_text;
use super::restart::{Decision, Lifetime, RestartPolicy, Restarts};
use super::roster::Roster;
use super::task::TimerHandle;
use super::view::ExitCause;
use super::vitals::{Phase, Vitals};

/// How long a killed actor may take to be gone; only code that blocks its thread takes longer.
pub(super) const KILL_GRACE: Duration = Duration::from_secs(1);

/// Where incarnations of one actor are made; its behaviour's type is forgotten here.
#[async_trait]
pub(super) trait Seat: Send + Sync {
    fn address(&self) -> &Arc<dyn Address>;
    async fn spawn(
        &self,
        supervisor: ActorCell,
        roster: Roster,
    ) -> Result<(ActorCell, oneshot::Receiver<()>), ActorError>;
}

pub(super) struct TypedSeat<B: Behaviour> {
    mailbox: Mailbox<B::Msg>,
    address: Arc<dyn Address>,
    args: Box<dyn Fn() -> B::Args + Send + Sync>,
}

impl<B: Behaviour> TypedSeat<B> {
    pub(super) fn seat(
        mailbox: &Mailbox<B::Msg>,
        args: impl Fn() -> B::Args + Send + Sync + 'static,
    ) -> Arc<dyn Seat> {
        let (mailbox, address) = (mailbox.clone(), mailbox.line.clone());
        Arc::new(Self { mailbox, address, args: Box::new(args) })
    }
}

#[async_trait]
impl<B: Behaviour> Seat for TypedSeat<B> {
    fn address(&self) -> &Arc<dyn Address> {
        &self.address
    }

    async fn spawn(
        &self,
        supervisor: ActorCell,
        roster: Roster,
    ) -> Result<(ActorCell, oneshot::Receiver<()>), ActorError> {
        // A factory that panics is a failed start of this child, not the end of its owner.
        let args = std::panic::catch_unwind(AssertUnwindSafe(|| (self.args)()))
            .map_err(|payload| ActorError::new(panic_text(payload)))?;
        let seed = Seed::<B> { mailbox: self.mailbox.clone(), args, roster };
        spawn(seed, Some(supervisor)).await
    }
}

pub(super) struct Slot {
    seat: Arc<dyn Seat>,
    lifetime: Lifetime,
    restarts: Restarts,
    stop_timeout: Duration,
    stage: Stage,
    started_before: bool,
    /// Armed by the owner: the end of the backoff, or of the patience with a stop.
    pub(super) timer: Option<TimerHandle>,
}

pub(super) enum Stage {
    Down,
    Live(ActorCell),
    Stopping { cell: ActorCell, again: bool },
    Backoff,
    Failed { since: Instant },
    Ended,
}

/// What the owner of a slot does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Call `start`.
    Start,
    /// Arm the timer; call `due` when it fires.
    Wait(Duration),
    /// Nothing: it is up, or its exit is awaited.
    Nothing,
    /// It ended and stays so.
    Ended,
    /// It is past its restart intensity; the text is the last exit's.
    GaveUp(String),
}

impl Slot {
    pub(super) fn new(
        seat: Arc<dyn Seat>,
        lifetime: Lifetime,
        policy: RestartPolicy,
        stop_timeout: Duration,
    ) -> Self {
        Self {
            seat,
            lifetime,
            restarts: Restarts::new(policy),
            stop_timeout,
            stage: Stage::Down,
            started_before: false,
            timer: None,
        }
    }

    pub(super) fn address(&self) -> &Arc<dyn Address> {
        self.seat.address()
    }

    pub(super) fn vitals(&self) -> &Arc<Vitals> {
        self.address().vitals()
    }

    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.lifetime == Lifetime::Permanent
    }

    /// The running incarnation, even one that is stopping.
    pub(super) fn cell(&self) -> Option<&ActorCell> {
        match &self.stage {
            Stage::Live(cell) | Stage::Stopping { cell, .. } => Some(cell),
            _ => None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live(_))
    }

    /// Whether it failed so long ago that it may be tried again.
    pub(super) fn is_forgiven(&self) -> bool {
        let reset_after = self.restarts.policy().reset_after;
        matches!(self.stage, Stage::Failed { since } if since.elapsed() >= reset_after)
    }

    /// Starts an incarnation. The receiver resolves when its `start` is through.
    pub(super) async fn start(
        &mut self,
        supervisor: ActorCell,
        roster: &Roster,
    ) -> Result<oneshot::Receiver<()>, Next> {
        self.timer = None;
        if self.started_before {
            self.vitals().restarting();
        }
        self.started_before = true;
        match self.seat.spawn(supervisor, roster.clone()).await {
            Ok((cell, ready)) => {
                self.stage = Stage::Live(cell);
                Ok(ready)
            }
            Err(error) => {
                let (_, next) = self.ended(ExitCause::Error, error.to_string(), roster);
                Err(next)
            }
        }
    }

    /// The incarnation has ended.
    pub(super) fn exited(&mut self, exit: ChildExit, roster: &Roster) -> (ExitCause, Next) {
        self.ended(exit.cause, exit.message, roster)
    }

    fn ended(&mut self, cause: ExitCause, message: String, roster: &Roster) -> (ExitCause, Next) {
        self.timer = None;
        self.address().detach();
        let (cause, message) = self.vitals().close_exit(cause, message);
        let id = self.vitals().id().clone();
        let chance = roster.chance(self.vitals());
        let next = match &self.stage {
            Stage::Stopping { again: true, .. } => {
                self.stage = Stage::Down;
                self.vitals().set_phase(Phase::Starting);
                Next::Start
            }
            Stage::Stopping { again: false, .. } => self.finish(),
            _ if !self.lifetime.restarts_after(cause) => {
                tracing::debug!(actor = %id, cause = cause.as_str(), message, "actor ended");
                self.finish()
            }
            _ => match self.restarts.on_exit(Instant::now(), chance) {
                Decision::RestartAfter(delay) => {
                    let cause = cause.as_str();
                    tracing::warn!(actor = %id, cause, message, ?delay, "actor failed, restarting");
                    self.stage = Stage::Backoff;
                    self.vitals().set_backoff(delay);
                    Next::Wait(delay)
                }
                Decision::GiveUp => {
                    let cause = cause.as_str();
                    tracing::error!(actor = %id, cause, message, "actor failed too often");
                    self.stage = Stage::Failed { since: Instant::now() };
                    self.vitals().set_phase(Phase::Failed);
                    Next::GaveUp(message)
                }
            },
        };
        (cause, next)
    }

    /// Asks the incarnation to stop, and to be followed by another if `again`. With `drain` it
    /// handles what waits first. New messages are refused from here on.
    pub(super) fn stop(&mut self, again: bool, drain: bool) -> Next {
        let Stage::Live(cell) = &self.stage else { return Next::Nothing };
        let cell = cell.clone();
        self.vitals().set_phase(Phase::Stopping);
        self.address().detach();
        if !drain || cell.drain().is_err() {
            cell.stop(None);
        }
        self.stage = Stage::Stopping { cell, again };
        Next::Wait(self.stop_timeout)
    }

    /// A stopping incarnation shall be followed by another after all.
    pub(super) fn follow_up(&mut self, wanted: bool) {
        if let Stage::Stopping { again, .. } = &mut self.stage {
            *again = wanted;
        }
    }

    /// A human asked for a restart: past exits are forgotten, backoff is cut short.
    pub(super) fn restart(&mut self) -> Next {
        self.restarts.reset();
        match &self.stage {
            Stage::Live(_) => self.stop(true, false),
            Stage::Stopping { .. } => {
                self.follow_up(true);
                Next::Nothing
            }
            Stage::Down | Stage::Backoff | Stage::Failed { .. } | Stage::Ended => Next::Start,
        }
    }

    /// The timer fired.
    pub(super) fn due(&mut self) -> Next {
        self.timer = None;
        match &self.stage {
            Stage::Backoff => Next::Start,
            Stage::Stopping { cell, .. } => {
                let text = format!("did not stop within {:?}", self.stop_timeout);
                tracing::warn!(actor = %self.vitals().id(), "actor killed: it {text}");
                self.vitals().note_exit(ExitCause::Killed, text);
                kill(cell);
                Next::Nothing
            }
            _ => Next::Nothing,
        }
    }

    /// Ends the child for good, because its owner ends: stop, wait, and kill past the time-out.
    pub(super) async fn end(&mut self, roster: &Roster) {
        self.timer = None;
        if let Some(cell) = self.cell().cloned() {
            self.vitals().set_phase(Phase::Stopping);
            self.address().detach();
            // A second stop is no error here: it may have been asked to stop before.
            cell.stop(None);
            let in_time = cell.wait(Some(self.stop_timeout)).await.is_ok();
            let mut cause = (ExitCause::Clean, String::new());
            if !in_time {
                let text = format!("did not stop within {:?}", self.stop_timeout);
                tracing::warn!(actor = %self.vitals().id(), "actor killed: it {text}");
                cause = (ExitCause::Killed, text);
                kill(&cell);
                let _ = cell.wait(Some(KILL_GRACE)).await;
            }
            self.vitals().close_exit(cause.0, cause.1);
            roster.note_stop(self.vitals().id(), in_time);
        }
        self.finish();
    }

    /// Nobody follows: the address refuses as stopped.
    pub(super) fn finish(&mut self) -> Next {
        self.timer = None;
        self.stage = Stage::Ended;
        self.vitals().set_phase(Phase::Stopped);
        self.address().close();
        Next::Ended
    }
}

/// The one place that kills: past a stop's time-out, and in fault tests.
#[allow(clippy::disallowed_methods, reason = "the last resort after a graceful stop")]
pub(super) fn kill(cell: &ActorCell) {
    cell.kill();
}
