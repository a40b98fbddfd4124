//! The address of an actor: bounded, never blocking, and valid across its incarnations.
//!
//! ractor's own mailboxes are unbounded, have no length and die with the actor. Here every
//! message travels in an envelope whose ticket gives its place back when it is dropped, so
//! the depth stays exact even when ractor throws a crashed actor's backlog away. A message that
//! is dropped that way is gone: what must happen to it (ack, release) belongs in its own `Drop`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::behaviour::Behaviour;
use super::line::Line;
use super::roster::Roster;
use super::view::ActorId;
use super::vitals::Vitals;

/// A message that an actor understands.
pub trait Message: Send + 'static {
    /// Its name, for metric labels and introspection; never carries a key.
    fn name(&self) -> &'static str;

    /// Whether nobody waits for the result any more, typically [`Reply::is_closed`] of a
    /// request's reply. The host skips such a message instead of handling it for nobody.
    fn abandoned(&self) -> bool {
        false
    }
}

/// The address of an actor. Cheap to clone; stays valid while the actor behind it is restarted.
pub struct Mailbox<M> {
    pub(super) line: Arc<Line<M>>,
}

/// Why a message was not taken, with the message.
///
/// Deliberately no `Error`: a refusal is an expected value, and a `?` in a handler must not turn
/// it into the end of the sender.
pub struct Refused<M> {
    /// The message, for the sender to keep, answer or drop.
    pub message: M,
    /// The reason.
    pub why: Why,
}

/// Why a mailbox refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// As many messages wait as the mailbox takes.
    #[error("its mailbox is full ({bound} messages wait)")]
    Full {
        /// The mailbox's bound.
        bound: usize,
    },
    /// The actor is not up: in backoff, being restarted, past its intensity, or not started yet.
    #[error("it is down{}", restart_in.map(|d| format!(" and restarts in {d:?}")).unwrap_or_default())]
    Down {
        /// Time until the restart, while it waits in backoff.
        restart_in: Option<Duration>,
    },
    /// The actor has ended for good.
    #[error("it has stopped")]
    Stopped,
}

/// Why an ask has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The message was not taken.
    #[error("actor {to} refused the request: {why}")]
    Refused {
        /// The actor asked.
        to: ActorId,
        /// The reason.
        why: Why,
    },
    /// No answer in time. The actor skips the request if it has not begun it.
    #[error("actor {to} did not answer within {after:?}")]
    TimedOut {
        /// The actor asked.
        to: ActorId,
        /// The time-out.
        after: Duration,
    },
    /// The actor failed, or dropped the request, before it answered.
    #[error("actor {to} ended or dropped the request before it answered")]
    Dropped {
        /// The actor asked.
        to: ActorId,
    },
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    /// Answers. An asker that has given up is no error: nobody is left to tell.
    pub fn send(self, answer: T) {
        let _ = self.0.send(answer);
    }

    /// Whether the asker has given up.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<M: Message> Mailbox<M> {
    /// The address of an actor that need not run yet, so that it can be handed to the actors
    /// upstream of it before a supervisor or pool starts it.
    pub fn new<B: Behaviour<Msg = M>>(id: ActorId, bound: usize, roster: &Roster) -> Self {
        Self::of_kind(id, B::KIND, bound, roster)
    }

    pub(super) fn of_kind(id: ActorId, kind: &'static str, bound: usize, roster: &Roster) -> Self {
        let vitals = Arc::new(roster.vitals(id, kind, bound));
        let line = Arc::new(Line::new(vitals));
        roster.enrol(line.clone());
        Self { line }
    }

    /// Sends, or says why not. Never waits.
    pub fn cast(&self, message: M) -> Result<(), Refused<M>> {
        self.line.send(message).map_err(|(message, why)| {
            self.line.vitals.reject();
            Refused { message, why }
        })
    }

    /// Sends a request and waits for its answer, at most `timeout`. For callers outside of the
    /// tree: a handler never waits for another actor.
    pub async fn ask<T>(
        &self,
        timeout: Duration,
        request: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, AskError> {
        let to = || self.id().clone();
        let (reply, answer) = oneshot::channel();
        if let Err(refused) = self.cast(request(Reply(reply))) {
            return Err(AskError::Refused { to: to(), why: refused.why });
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Dropped { to: to() }),
            Err(_) => Err(AskError::TimedOut { to: to(), after: timeout }),
        }
    }
}

impl<M> Mailbox<M> {
    /// The actor's path.
    pub fn id(&self) -> &ActorId {
        self.line.vitals.id()
    }

    /// Messages waiting now.
    pub fn depth(&self) -> usize {
        self.line.vitals.depth()
    }

    /// The age of the oldest waiting message.
    pub fn oldest_age(&self) -> Option<Duration> {
        self.line.vitals.oldest_age()
    }

    /// Messages it takes before it refuses.
    pub fn bound(&self) -> usize {
        self.line.vitals.bound()
    }

    /// What is known of the actor behind it.
    pub fn vitals(&self) -> &Vitals {
        &self.line.vitals
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { line: self.line.clone() }
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({}, {}/{})", self.line.vitals.id(), self.depth(), self.bound())
    }
}

impl<M> fmt::Debug for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<M> fmt::Display for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the actor refused the message: {}", self.why)
    }
}
