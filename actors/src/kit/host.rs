//! The one ractor actor that hosts every [`Behaviour`]: vitals, envelopes, metrics and the
//! capture of panics live here, once.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use super::behaviour::{ActorError, Behaviour, ChildExit, Context};
use super::line::{Envelope, Line, Load};
use super::mailbox::{Mailbox, Message};
use super::panic_text;
use super::roster::Roster;
use super::view::ExitCause;
use super::vitals::{Phase, Vitals};

pub(super) struct Host<B>(PhantomData<fn() -> B>);

/// All it takes to start an incarnation.
pub(super) struct Seed<B: Behaviour> {
    pub(super) mailbox: Mailbox<B::Msg>,
    pub(super) args: B::Args,
    pub(super) roster: Roster,
}

pub(super) struct Body<B: Behaviour> {
    behaviour: Option<B>,
    args: Option<B::Args>,
    /// Dropped unsent when `start` fails.
    started: Option<oneshot::Sender<()>>,
    ctx: Context<B>,
    presence: Presence<B::Msg>,
}

/// Takes the incarnation off its address when it ends in any way, a kill included.
struct Presence<M: Message> {
    line: Arc<Line<M>>,
    generation: u64,
}

impl<M: Message> Drop for Presence<M> {
    fn drop(&mut self) {
        self.line.unbind(self.generation);
    }
}

/// The message in hand; ends with the handler, even when a kill drops it half-way.
struct InHand<'a>(&'a Vitals);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Starts an incarnation linked to its supervisor. Returns once it has its address; the receiver
/// resolves when its `start` is through.
pub(super) async fn spawn<B: Behaviour>(
    seed: Seed<B>,
    supervisor: Option<ActorCell>,
) -> Result<(ActorCell, oneshot::Receiver<()>), ActorError> {
    let (started, ready) = oneshot::channel();
    let host = Host::<B>(PhantomData);
    let spawned = match supervisor {
        Some(supervisor) => Actor::spawn_linked(None, host, (seed, started), supervisor).await,
        None => Actor::spawn(None, host, (seed, started)).await,
    };
    let (actor, _join) = spawned?;
    Ok((actor.get_cell(), ready))
}

impl<B: Behaviour> Actor for Host<B> {
    type Msg = Envelope<B::Msg>;
    type State = Body<B>;
    type Arguments = (Seed<B>, oneshot::Sender<()>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (seed, started): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        // Only the address is bound here, because this still runs in the supervisor.
        let line = seed.mailbox.line.clone();
        line.vitals.set_phase(Phase::Starting);
        let generation = line.bind(myself.clone());
        Ok(Body {
            behaviour: None,
            args: Some(seed.args),
            started: Some(started),
            ctx: Context { mailbox: seed.mailbox, actor: myself, roster: seed.roster },
            presence: Presence { line, generation },
        })
    }

    async fn post_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        body: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(args) = body.args.take() else { return Ok(()) };
        let started = AssertUnwindSafe(B::start(args, &body.ctx)).catch_unwind().await;
        match started {
            Ok(Ok(behaviour)) => {
                body.behaviour = Some(behaviour);
                body.ctx.vitals().set_phase(Phase::Up);
                if let Some(started) = body.started.take() {
                    let _ = started.send(());
                }
                Ok(())
            }
            Ok(Err(error)) => Err(body.fail(ExitCause::Error, error.to_string())),
            Err(payload) => Err(body.fail(ExitCause::Panic, panic_text(payload))),
        }
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        body: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if envelope.is_cancelled() {
            return Ok(());
        }
        let Envelope { load, ticket, .. } = envelope;
        let Some(behaviour) = body.behaviour.as_mut() else { return Ok(()) };
        let name = match &load {
            Load::Message(message) if message.abandoned() => return Ok(()),
            Load::Message(message) => message.name(),
            #[cfg(any(test, feature = "testkit"))]
            Load::Fault(_) => "fault",
        };
        let vitals = body.ctx.mailbox.line.vitals.clone();
        // In hand first, out of the queue second: never idle in between.
        vitals.begin(name);
        let in_hand = InHand(&vitals);
        vitals.counters.wait.observe(ticket.sent.elapsed());
        drop(ticket);
        let ctx = &body.ctx;
        let work = async {
            match load {
                Load::Message(message) => behaviour.handle(message, ctx).await,
                #[cfg(any(test, feature = "testkit"))]
                Load::Fault(fault) => fault.happen().await,
            }
        };
        let result = AssertUnwindSafe(work).catch_unwind().await;
        drop(in_hand);
        body.conclude(result)
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        body: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        body.ctx.vitals().set_phase(Phase::Stopping);
        body.presence.line.unbind(body.presence.generation);
        let Some(mut behaviour) = body.behaviour.take() else { return Ok(()) };
        let stopped = AssertUnwindSafe(behaviour.stop(&body.ctx)).catch_unwind().await;
        // Dropped here: ractor would send the state to the supervisor instead.
        drop(behaviour);
        body.conclude(stopped.map(Ok))
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        body: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(exit) = child_exit(event) else { return Ok(()) };
        let Some(behaviour) = body.behaviour.as_mut() else { return Ok(()) };
        let handled = AssertUnwindSafe(behaviour.child_exited(exit, &body.ctx)).catch_unwind();
        let result = handled.await;
        body.conclude(result)
    }
}

impl<B: Behaviour> Body<B> {
    fn conclude(
        &mut self,
        result: std::thread::Result<Result<(), ActorError>>,
    ) -> Result<(), ActorProcessingErr> {
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.fail(ExitCause::Error, error.to_string())),
            Err(payload) => Err(self.fail(ExitCause::Panic, panic_text(payload))),
        }
    }

    /// Takes the address down before ractor drops the backlog, so that no later message joins
    /// it, and ends the incarnation's tasks.
    fn fail(&mut self, cause: ExitCause, message: String) -> ActorProcessingErr {
        self.presence.line.unbind(self.presence.generation);
        self.behaviour = None;
        self.ctx.vitals().note_exit(cause, message.clone());
        message.into()
    }
}

/// ractor tells a kill as a termination with a reason: decide on event and reason.
fn child_exit(event: SupervisionEvent) -> Option<ChildExit> {
    match event {
        SupervisionEvent::ActorTerminated(cell, _, reason) => {
            let killed = matches!(reason.as_deref(), Some("killed" | "actor_task_cancelled"));
            let cause = if killed { ExitCause::Killed } else { ExitCause::Clean };
            let message = reason.unwrap_or_default();
            Some(ChildExit { child: cell.get_id(), cause, message })
        }
        SupervisionEvent::ActorFailed(cell, error) => Some(ChildExit {
            child: cell.get_id(),
            cause: ExitCause::Error,
            message: error.to_string(),
        }),
        SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
    }
}
