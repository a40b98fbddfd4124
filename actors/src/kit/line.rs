//! What is behind a mailbox: the line to the present incarnation, and the envelopes on it.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ractor::{ActorRef, MessagingErr};

use super::lock;
use super::mailbox::{Message, Why};
use super::vitals::{Ticket, Vitals};

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
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        let link = Mutex::new(Link { generation: 0, to: To::Nobody });
        Self { vitals, link, restart: Mutex::new(None) }
    }

    /// Sends to the incarnation that is there now, within the mailbox's bound.
    pub(super) fn send(&self, message: M) -> Result<(), (M, Why)> {
        let link = lock(&self.link);
        let why = match &link.to {
            To::Actor(actor) => match self.vitals.admit(true) {
                Some(ticket) => {
                    let posted = post(actor, Envelope::new(message, ticket, None));
                    return posted.map_err(|message| (message, self.down()));
                }
                None => Why::Full { bound: self.vitals.bound() },
            },
            To::Nobody => self.down(),
            To::Closed => Why::Stopped,
        };
        Err((message, why))
    }

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
    #[cfg(any(test, feature = "testkit"))]
    fn cell(&self) -> Option<ractor::ActorCell>;
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

    #[cfg(any(test, feature = "testkit"))]
    fn cell(&self) -> Option<ractor::ActorCell> {
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
#[derive(Debug)]
pub(super) enum Fault {
    /// The handler panics.
    Panic,
    /// The handler returns an error.
    Error,
    /// The handler does not return until it is told how to.
    Hold(tokio::sync::oneshot::Receiver<Fault>),
}

#[cfg(any(test, feature = "testkit"))]
impl Fault {
    /// Fails the way it says.
    pub(super) async fn happen(self) -> Result<(), super::behaviour::ActorError> {
        let fault = match self {
            // Let go unharmed when nobody holds it any more.
            Self::Hold(until) => match until.await {
                Ok(fault) => fault,
                Err(_) => return Ok(()),
            },
            fault => fault,
        };
        match fault {
            Self::Panic => panic!("injected panic"),
            Self::Error => Err(super::behaviour::ActorError::new("injected error")),
            Self::Hold(_) => Ok(()),
        }
    }
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
