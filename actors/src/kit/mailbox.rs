//! The address of an actor: bounded, never blocking, and valid across its incarnations.
//!
//! ractor's own mailboxes are unbounded, have no length and die with the actor. Here every
//! message travels in an [`Envelope`] whose ticket gives its place back when it is dropped, so
//! the depth stays exact even when ractor throws a crashed actor's backlog away. A message that
//! is dropped that way is gone: what must happen to it (ack, release) belongs in its own `Drop`.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{ActorCell, ActorRef, MessagingErr};
use tokio::sync::oneshot;

use super::behaviour::Behaviour;
use super::lock;
use super::roster::Roster;
use super::vitals::{ActorId, Ticket, Vitals};

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
    /// The actor failed and waits for its restart, or has not been started yet.
    #[error("it is down and restarts in {restart_in:?}")]
    Down {
        /// Time until the restart, as far as it is known.
        restart_in: Duration,
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
        let line = Arc::new(Line {
            vitals,
            link: Mutex::new(Link { generation: 0, to: To::Nobody }),
            restart: Mutex::new(None),
        });
        roster.enrol(line.clone());
        Self { line }
    }

    /// Sends, or says why not. Never waits.
    pub fn cast(&self, message: M) -> Result<(), Refused<M>> {
        let link = lock(&self.line.link);
        let why = match &link.to {
            To::Actor(actor) => match self.line.vitals.admit(true) {
                Some(ticket) => match post(actor, Envelope::new(message, ticket, None)) {
                    Ok(()) => return Ok(()),
                    Err(back) => return Err(self.refuse(back, self.line.down())),
                },
                None => Why::Full { bound: self.line.vitals.bound() },
            },
            To::Nobody => self.line.down(),
            To::Closed => Why::Stopped,
        };
        Err(self.refuse(message, why))
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

    fn refuse(&self, message: M, why: Why) -> Refused<M> {
        self.line.vitals.reject();
        Refused { message, why }
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

/// What is behind an address: the record of the actor and the way to its incarnation.
pub(super) struct Line<M> {
    pub(super) vitals: Arc<Vitals>,
    link: Mutex<Link<M>>,
    restart: Mutex<Option<RestartRequest>>,
}

/// How the actor's owner is asked to restart it; false when it cannot be asked now.
pub(super) type RestartRequest = Arc<dyn Fn() -> bool + Send + Sync>;

struct Link<M> {
    /// Counts incarnations, so that a late goodbye of an old one does not unbind a new one.
    generation: u64,
    to: To<M>,
}

enum To<M> {
    Nobody,
    Actor(ActorRef<Envelope<M>>),
    Closed,
}

impl<M: Message> Line<M> {
    /// Points the address at a new incarnation; returns its generation.
    pub(super) fn bind(&self, actor: ActorRef<Envelope<M>>) -> u64 {
        let mut link = lock(&self.link);
        link.generation += 1;
        let generation = link.generation;
        let old = mem::replace(&mut link.to, To::Actor(actor));
        // Dropping the last reference to a dead actor may drop messages, whose own drop guards
        // may send: never under the lock.
        drop(link);
        drop(old);
        generation
    }

    /// The incarnation says goodbye.
    pub(super) fn unbind(&self, generation: u64) {
        let mut link = lock(&self.link);
        if link.generation == generation && matches!(link.to, To::Actor(_)) {
            let old = mem::replace(&mut link.to, To::Nobody);
            drop(link);
            drop(old);
        }
    }

    fn down(&self) -> Why {
        Why::Down { restart_in: self.vitals.restart_in() }
    }
}

/// An address whose message type does not matter: what supervisors and the roster hold.
pub(super) trait Address: Send + Sync {
    fn vitals(&self) -> &Arc<Vitals>;
    /// No incarnation will follow: refuse as stopped instead of down.
    fn close(&self);
    /// There is no incarnation now, or it takes nothing more.
    fn detach(&self);
    fn on_restart(&self, request: RestartRequest);
    fn request_restart(&self) -> bool;
    fn cell(&self) -> Option<ActorCell>;
    #[cfg(any(test, feature = "testkit"))]
    fn inject(&self, fault: Fault) -> bool;
}

impl<M: Message> Address for Line<M> {
    fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    fn close(&self) {
        let old = mem::replace(&mut lock(&self.link).to, To::Closed);
        drop(old);
        let request = lock(&self.restart).take();
        drop(request);
    }

    fn detach(&self) {
        let mut link = lock(&self.link);
        if matches!(link.to, To::Actor(_)) {
            let old = mem::replace(&mut link.to, To::Nobody);
            drop(link);
            drop(old);
        }
    }

    fn on_restart(&self, request: RestartRequest) {
        *lock(&self.restart) = Some(request);
    }

    fn request_restart(&self) -> bool {
        let request = lock(&self.restart).clone();
        request.is_some_and(|request| request())
    }

    fn cell(&self) -> Option<ActorCell> {
        match &lock(&self.link).to {
            To::Actor(actor) => Some(actor.get_cell()),
            To::Nobody | To::Closed => None,
        }
    }

    #[cfg(any(test, feature = "testkit"))]
    fn inject(&self, fault: Fault) -> bool {
        let Some(actor) = self.cell().map(ActorRef::<Envelope<M>>::from) else { return false };
        let Some(ticket) = self.vitals.admit(false) else { return false };
        let envelope = Envelope { load: Load::Fault(fault), ticket, cancelled: None };
        actor.send_message(envelope).is_ok()
    }
}

/// A message on its way, with its place in the mailbox.
pub(super) struct Envelope<M> {
    pub(super) load: Load<M>,
    pub(super) ticket: Ticket,
    /// Set by a timer's handle: a tick that was called off is not handled, even if it waits.
    pub(super) cancelled: Option<Arc<AtomicBool>>,
}

pub(super) enum Load<M> {
    Message(M),
    #[cfg(any(test, feature = "testkit"))]
    Fault(Fault),
}

/// A failure on demand, for fault tests.
#[cfg(any(test, feature = "testkit"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The handler panics.
    Panic,
    /// The handler returns an error.
    Error,
}

impl<M> Envelope<M> {
    fn new(message: M, ticket: Ticket, cancelled: Option<Arc<AtomicBool>>) -> Self {
        Self { load: Load::Message(message), ticket, cancelled }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Acquire))
    }
}

/// Sends past the bound, to one incarnation only: for the reports and ticks that an actor caused
/// itself, whose number it bounds. Nothing happens when that incarnation is gone.
pub(super) fn deliver<M: Message>(
    actor: &ActorRef<Envelope<M>>,
    vitals: &Arc<Vitals>,
    message: M,
    cancelled: Option<Arc<AtomicBool>>,
) {
    if let Some(ticket) = vitals.admit(false) {
        let _ = post(actor, Envelope::new(message, ticket, cancelled));
    }
}

fn post<M: Message>(actor: &ActorRef<Envelope<M>>, envelope: Envelope<M>) -> Result<(), M> {
    match actor.send_message(envelope) {
        Ok(()) => Ok(()),
        Err(MessagingErr::SendErr(Envelope { load: Load::Message(message), .. })) => Err(message),
        Err(_) => unreachable!("ractor hands a typed message back when it cannot send it"),
    }
}
