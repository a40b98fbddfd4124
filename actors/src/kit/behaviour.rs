//! What an actor is, and the context it works in.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ractor::{ActorCell, ActorRef};
use serde::Serialize;

use super::line::{Envelope, deliver};
use super::mailbox::{Mailbox, Message};
use super::roster::Roster;
use super::task::{TaskEnd, TaskHandle, TimerHandle, run};
use super::view::ExitCause;
use super::vitals::Vitals;

/// What an actor is. One incarnation is one value of the implementing type.
#[async_trait]
pub trait Behaviour: Send + Sized + 'static {
    /// What it understands.
    type Msg: Message;
    /// All it takes to rebuild it after a failure.
    type Args: Clone + Send + Sync + 'static;
    /// Its kind: a metric label, so one word of the code.
    const KIND: &'static str;
    /// The kind of a [`Pool`](super::Pool) of such actors.
    const POOL_KIND: &'static str = "pool";

    /// Builds an incarnation. Runs in the actor, not in its supervisor; does no I/O. A failure
    /// counts like a crash and is retried with backoff.
    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError>;

    /// Handles one message. An expected failure is a value; an error says that the state can no
    /// longer be trusted, and the actor is restarted.
    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError>;

    /// Ends gracefully. Not called after an error, a panic or a kill: what must happen then too
    /// belongs in a `Drop`.
    async fn stop(&mut self, _ctx: &Context<Self>) {}

    /// One of its children ended; only supervisors and pools have any.
    async fn child_exited(
        &mut self,
        _exit: ChildExit,
        _ctx: &Context<Self>,
    ) -> Result<(), ActorError> {
        Ok(())
    }
}

/// "My state can no longer be trusted", with the reason. Any error converts into it.
#[derive(Debug)]
pub struct ActorError(String);

impl ActorError {
    /// With this reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for ActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Like anyhow's, this error implements no `Error`, so that every error can convert into it.
impl<E: std::error::Error> From<E> for ActorError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// The end of a child, as ractor told it.
#[derive(Debug)]
pub struct ChildExit {
    pub(super) child: ractor::ActorId,
    pub(super) cause: ExitCause,
    pub(super) message: String,
}

/// What an incarnation works with. It belongs to that incarnation: its timers and tasks never
/// speak to the next one.
pub struct Context<B: Behaviour> {
    pub(super) mailbox: Mailbox<B::Msg>,
    pub(super) actor: ActorRef<Envelope<B::Msg>>,
    pub(super) roster: Roster,
}

impl<B: Behaviour> Context<B> {
    /// The actor's own address.
    pub fn myself(&self) -> &Mailbox<B::Msg> {
        &self.mailbox
    }

    /// What is known of the actor.
    pub fn vitals(&self) -> &Vitals {
        &self.mailbox.line.vitals
    }

    /// Replaces what the actor says about itself in `/admin/actors`. Never a secret.
    pub fn set_details(&self, details: impl Serialize + Send + Sync + 'static) {
        self.vitals().set_details(Arc::new(details));
    }

    /// Stops gracefully after the message in hand. A permanent actor comes back.
    pub fn stop_self(&self) {
        self.actor.stop(None);
    }

    /// Sends a message to this incarnation now, past the bound: for work it gives itself.
    pub fn send_self(&self, message: B::Msg) {
        deliver(&self.actor, &self.mailbox.line.vitals, message, None);
    }

    /// Sends a message to this incarnation after a delay, unless the handle is dropped first;
    /// then the message is not handled even if it waits in the mailbox already.
    pub fn send_after(&self, delay: Duration, message: B::Msg) -> TimerHandle {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (actor, vitals) = (self.actor.clone(), self.mailbox.line.vitals.clone());
        let flag = cancelled.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if !flag.load(Ordering::Acquire) {
                deliver(&actor, &vitals, message, Some(flag));
            }
        });
        TimerHandle::new(task.abort_handle(), cancelled)
    }

    /// Runs work beside the mailbox, so that the actor stays free. The report is always sent to
    /// this incarnation: with the result, with what a panic said, or that the task was aborted.
    /// Dropping the handle aborts; so does the end of the incarnation. `report` must not panic.
    pub fn run_task<T, F, R>(&self, future: F, report: R) -> TaskHandle
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        R: FnOnce(TaskEnd<T>) -> B::Msg + Send + 'static,
    {
        run(self.actor.clone(), self.mailbox.line.vitals.clone(), future, report)
    }

    pub(super) fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }
}

impl<B: Behaviour> fmt::Debug for Context<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(self.vitals().id()).finish()
    }
}
