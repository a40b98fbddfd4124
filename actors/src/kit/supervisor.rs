//! The root of the tree: a fixed set of children, started top to bottom, stopped bottom to top.
//!
//! One child's failure never touches its siblings. A permanent child past its restart intensity
//! makes the tree fail: [`Supervised::failed`] resolves, and the process is expected to shut the
//! rest down in order and end non-zero. The supervisor itself does no work that could fail.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ractor::ActorCell;
use serde::Serialize;
use tokio::sync::watch;

use super::behaviour::{ActorError, Behaviour, ChildExit, Context};
use super::host::{Seed, spawn};
use super::mailbox::{Mailbox, Message, Reply};
use super::restart::{Lifetime, RestartPolicy};
use super::roster::Roster;
use super::slot::{KILL_GRACE, Next, Seat, Slot, TypedSeat, kill};
use super::view::ActorId;
use super::vitals::Phase;

/// How long the next child waits for the `start` of the one above it.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How long a child may take to stop, unless it says otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A child of a supervisor: who it is and how it is restarted.
#[derive(Clone)]
pub struct Child {
    seat: Arc<dyn Seat>,
    lifetime: Lifetime,
    policy: RestartPolicy,
    stop_timeout: Duration,
}

impl Child {
    /// Comes back from every exit; past its intensity the tree fails.
    pub fn permanent<B: Behaviour>(
        mailbox: &Mailbox<B::Msg>,
        args: B::Args,
        policy: RestartPolicy,
    ) -> Self {
        Self::new::<B>(mailbox, args, Lifetime::Permanent, policy)
    }

    /// Comes back from failures only; past its intensity it stays failed.
    pub fn transient<B: Behaviour>(
        mailbox: &Mailbox<B::Msg>,
        args: B::Args,
        policy: RestartPolicy,
    ) -> Self {
        Self::new::<B>(mailbox, args, Lifetime::Transient, policy)
    }

    /// Runs once.
    pub fn temporary<B: Behaviour>(mailbox: &Mailbox<B::Msg>, args: B::Args) -> Self {
        Self::new::<B>(mailbox, args, Lifetime::Temporary, RestartPolicy::default())
    }

    fn new<B: Behaviour>(
        mailbox: &Mailbox<B::Msg>,
        args: B::Args,
        lifetime: Lifetime,
        policy: RestartPolicy,
    ) -> Self {
        let seat = TypedSeat::<B>::seat(mailbox, ArgsOf::<B>(args).rebuild());
        Self { seat, lifetime, policy, stop_timeout: STOP_TIMEOUT }
    }

    /// How long it may take to stop before it is killed; 5 s if never called. A pool needs more
    /// than its own children.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({}, {:?})", self.seat.address().vitals().id(), self.lifetime)
    }
}

struct ArgsOf<B: Behaviour>(B::Args);

impl<B: Behaviour> ArgsOf<B> {
    fn rebuild(self) -> impl Fn() -> B::Args + Send + Sync + 'static {
        let args = self.0;
        move || args.clone()
    }
}

/// Why the tree failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("actor {actor} failed too often, the last time with: {reason}")]
pub struct TreeFailure {
    /// The permanent actor that could not be kept up.
    pub actor: ActorId,
    /// Its last exit.
    pub reason: String,
}

/// Who stopped when the tree was stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StopReport {
    /// Stopped by themselves, in this order.
    pub stopped: Vec<ActorId>,
    /// Had to be killed.
    pub overdue: Vec<ActorId>,
}

/// A running tree.
pub struct Supervised {
    roster: Roster,
    mailbox: Mailbox<SupervisorMsg>,
    cell: ActorCell,
    failed: watch::Receiver<Option<TreeFailure>>,
    patience: Duration,
}

impl Supervised {
    /// Starts the root supervisor and its children in order. Returns when each of them was
    /// started once; one that failed is in backoff, and the others run.
    pub async fn start(roster: &Roster, children: Vec<Child>) -> Result<Self, ActorError> {
        let mailbox = Mailbox::new::<Supervisor>(ActorId::root(), 64, roster);
        let (failed_tx, failed) = watch::channel(None);
        let patience = children
            .iter()
            .map(|child| child.stop_timeout + KILL_GRACE)
            .sum::<Duration>()
            .saturating_add(KILL_GRACE);
        let args = SupervisorArgs { children, failed: failed_tx };
        let seed = Seed::<Supervisor> { mailbox: mailbox.clone(), args, roster: roster.clone() };
        let (cell, ready) = spawn(seed, None).await?;
        if ready.await.is_err() {
            return Err(ActorError::new("the root supervisor did not start"));
        }
        Ok(Self { roster: roster.clone(), mailbox, cell, failed, patience })
    }

    /// Resolves when a permanent child is past its restart intensity, or when the supervisor
    /// itself is gone. The siblings still run: call [`Self::shutdown`] and end non-zero.
    pub fn failed(&self) -> impl Future<Output = TreeFailure> + Send + 'static {
        let mut failed = self.failed.clone();
        async move {
            let failure = failed.wait_for(Option::is_some).await.ok().and_then(|f| f.clone());
            failure.unwrap_or_else(|| TreeFailure {
                actor: ActorId::root(),
                reason: "the root supervisor ended".to_owned(),
            })
        }
    }

    /// Whether the supervisor answers within `timeout`: the heartbeat behind liveness.
    pub async fn is_alive(&self, timeout: Duration) -> bool {
        self.mailbox.ask(timeout, |reply| SupervisorMsg(Msg::Ping(reply))).await.is_ok()
    }

    /// The records of its actors.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Stops the children bottom to top, each with its time-out, and says who did not stop.
    pub async fn shutdown(self) -> StopReport {
        self.cell.stop(None);
        let in_time = self.cell.wait(Some(self.patience)).await.is_ok();
        if !in_time {
            kill(&self.cell);
            let _ = self.cell.wait(Some(KILL_GRACE)).await;
        }
        self.roster.note_stop(self.mailbox.id(), in_time);
        self.mailbox.line.vitals.set_phase(Phase::Stopped);
        super::line::Address::close(self.mailbox.line.as_ref());
        self.roster.take_stops()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Without a shutdown the tree still ends in order, only unobserved.
        self.cell.stop(None);
    }
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervised").field(&self.roster).finish()
    }
}

/// The actor behind [`Supervised`].
pub struct Supervisor {
    slots: Vec<Slot>,
    failed: watch::Sender<Option<TreeFailure>>,
}

/// What a [`Supervisor`] is started with.
#[derive(Clone)]
pub struct SupervisorArgs {
    children: Vec<Child>,
    failed: watch::Sender<Option<TreeFailure>>,
}

/// What a [`Supervisor`] understands; sent by the kit only.
pub struct SupervisorMsg(Msg);

enum Msg {
    Ping(Reply<()>),
    Restart(usize),
    Due(usize),
}

impl Message for SupervisorMsg {
    fn name(&self) -> &'static str {
        match self.0 {
            Msg::Ping(_) => "ping",
            Msg::Restart(_) => "restart",
            Msg::Due(_) => "due",
        }
    }

    fn abandoned(&self) -> bool {
        matches!(&self.0, Msg::Ping(reply) if reply.is_closed())
    }
}

#[async_trait]
impl Behaviour for Supervisor {
    type Msg = SupervisorMsg;
    type Args = SupervisorArgs;
    const KIND: &'static str = "supervisor";

    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        let slot =
            |child: Child| Slot::new(child.seat, child.lifetime, child.policy, child.stop_timeout);
        let slots = args.children.into_iter().map(slot).collect();
        let mut this = Self { slots, failed: args.failed };
        for index in 0..this.slots.len() {
            let address = this.slots[index].address();
            address.vitals().order.store(index as u32, Ordering::Relaxed);
            let myself = ctx.myself().clone();
            address.on_restart(Arc::new(move || {
                myself.cast(SupervisorMsg(Msg::Restart(index))).is_ok()
            }));
            match this.slots[index].start(ctx.cell(), &ctx.roster).await {
                // A failing start resolves it too; its exit is handled like any other.
                Ok(ready) => drop(tokio::time::timeout(START_PATIENCE, ready).await),
                Err(next) => this.follow(index, next, ctx).await,
            }
        }
        Ok(this)
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        let (index, next) = match message.0 {
            Msg::Ping(reply) => {
                reply.send(());
                return Ok(());
            }
            Msg::Restart(index) => (index, self.slots[index].restart()),
            Msg::Due(index) => (index, self.slots[index].due()),
        };
        self.follow(index, next, ctx).await;
        Ok(())
    }

    async fn child_exited(
        &mut self,
        exit: ChildExit,
        ctx: &Context<Self>,
    ) -> Result<(), ActorError> {
        let is_it = |slot: &Slot| slot.cell().is_some_and(|cell| cell.get_id() == exit.child);
        if let Some(index) = self.slots.iter().position(is_it) {
            let (_, next) = self.slots[index].exited(exit, &ctx.roster);
            self.follow(index, next, ctx).await;
        }
        Ok(())
    }

    async fn stop(&mut self, ctx: &Context<Self>) {
        for slot in self.slots.iter_mut().rev() {
            slot.end(&ctx.roster).await;
        }
    }
}

impl Supervisor {
    async fn follow(&mut self, index: usize, mut next: Next, ctx: &Context<Self>) {
        let slot = &mut self.slots[index];
        if next == Next::Start {
            match slot.start(ctx.cell(), &ctx.roster).await {
                Ok(_ready) => return,
                Err(failed) => next = failed,
            }
        }
        match next {
            Next::Wait(delay) => {
                slot.timer = Some(ctx.send_after(delay, SupervisorMsg(Msg::Due(index))));
            }
            Next::GaveUp(reason) if slot.is_permanent() => {
                let actor = slot.vitals().id().clone();
                self.failed.send_replace(Some(TreeFailure { actor, reason }));
            }
            Next::Start | Next::Nothing | Next::Ended | Next::GaveUp(_) => {}
        }
    }
}
