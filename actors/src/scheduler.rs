//! Claims runnable states and puts them into the due queue.
//!
//! Owns the poll timer and nothing else: which state is due is in the store,
//! so nothing is lost if this actor dies. It never waits for a job, never
//! retries one and never looks at why a state is due. It claims no further
//! ahead than the runs can follow; what is behind that stays in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;
use tracing::{info, warn};

use crate::dispatcher::DispatcherMsg;
use crate::domain::catch_up::{self, Bounds, Room};
use crate::kit::{
    ActorError, Behaviour, Context, Mailbox, Message, TaskEnd, TaskHandle, TimerHandle,
};
use crate::parts::Parts;
use crate::ports::PortResult;
use crate::ports::signals::{Heard, Signal};
use crate::ports::store::ClaimAsk;
use crate::wake::Wake;

/// What the scheduler understands.
#[derive(Debug)]
pub enum SchedulerMsg {
    /// The poll interval has passed.
    Poll,
    /// A state may have become runnable just now.
    Nudge,
    /// The listener for wake-ups ended.
    ListenerEnded(TaskEnd<()>),
}

impl Message for SchedulerMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Nudge => "nudge",
            Self::ListenerEnded(_) => "listener_ended",
        }
    }
}

/// All it takes to build a scheduler.
#[derive(Clone)]
pub struct SchedulerArgs {
    /// Ports and settings.
    pub parts: Parts,
    /// The actor downstream.
    pub dispatcher: Wake<DispatcherMsg>,
    /// Whether a nudge waits in the mailbox already.
    pub nudged: Arc<AtomicBool>,
}

/// The actor.
pub struct Scheduler {
    args: SchedulerArgs,
    next_poll: TimerHandle,
    _listener: TaskHandle,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    #[serde(with = "time::serde::rfc3339::option")]
    last_claim_at: Option<OffsetDateTime>,
    last_claim_rows: usize,
    last_claim_ms: u64,
    claimed_total: u64,
    #[serde(with = "time::serde::rfc3339::option")]
    next_poll_at: Option<OffsetDateTime>,
    redispatch_ms: u64,
    window: u32,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for Scheduler {
    type Msg = SchedulerMsg;
    type Args = SchedulerArgs;
    const KIND: &'static str = "scheduler";

    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        // The first look is at once: after downtime everything may be due.
        let next_poll = ctx.send_after(Duration::ZERO, SchedulerMsg::Poll);
        let listener =
            ctx.run_task(listen(args.clone(), ctx.myself().clone()), SchedulerMsg::ListenerEnded);
        Ok(Self { args, next_poll, _listener: listener, details: Details::default() })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            SchedulerMsg::Poll => self.look(ctx).await,
            SchedulerMsg::Nudge => {
                // Cleared before the claim: a request that comes during it
                // nudges again instead of being taken for seen.
                self.args.nudged.store(false, Ordering::Release);
                self.look(ctx).await;
            }
            SchedulerMsg::ListenerEnded(end) => {
                return Err(ActorError::new(format!("the wake-up listener ended: {end:?}")));
            }
        }
        Ok(())
    }
}

impl Scheduler {
    /// Claims what there is room for, then re-arms the poll. Each end of a run
    /// nudges, so that room is used as soon as it is made.
    async fn look(&mut self, ctx: &Context<Self>) {
        let poll = self.args.parts.settings.poll;
        let wait = match self.claim_all().await {
            Ok(()) => {
                self.details.last_error = None;
                poll
            }
            Err(error) => {
                warn!(event = "vz_sync_claim_failed", error = %error, "could not claim due states");
                self.details.last_error = Some(error.to_string());
                poll.min(Duration::from_secs(5))
            }
        };
        self.details.next_poll_at = Some(self.args.parts.ports.clock.wall() + wait);
        self.next_poll = ctx.send_after(wait, SchedulerMsg::Poll);
        ctx.set_details(self.details.clone());
    }

    /// How many states that nobody asked for may join the queue: no more than
    /// will be leased well before they could be claimed once more.
    async fn room(&mut self) -> PortResult<Room> {
        let Parts { ports, settings, measured } = &self.args.parts;
        let depths = ports.due_queue.depths().await?;
        let fleet = measured.fleet();
        let permits = fleet.map_or(settings.permits.total as u32, |fleet| fleet.permits);
        let replicas = f64::from(fleet.map_or(1, |fleet| fleet.replicas));
        let rate = measured.lease_rate().map(|rate| rate * replicas);
        let bounds = Bounds { least: permits * 2, most: settings.claim_batch };
        let window = catch_up::window(rate, settings.redispatch / 2, bounds);
        self.details.window = window;
        Ok(Room::left(window, |lane| depths.lane(lane)))
    }

    async fn claim_all(&mut self) -> PortResult<()> {
        let Parts { ports, settings, measured } = self.args.parts.clone();
        let redispatch = settings.redispatch.max(measured.queue_wait() * 2);
        self.details.redispatch_ms = redispatch.as_millis() as u64;
        loop {
            let room = self.room().await?;
            let began = ports.clock.now();
            let ask = ClaimAsk { limit: settings.claim_batch, room, redispatch };
            let due = ports.store.claim(&ask).await?;
            self.details.last_claim_at = Some(ports.clock.wall());
            self.details.last_claim_rows = due.len();
            self.details.last_claim_ms = began.elapsed().as_millis() as u64;
            self.details.claimed_total += due.len() as u64;
            if due.is_empty() {
                return Ok(());
            }
            // Lost here, the claimed states are runnable again after the
            // re-dispatch delay: the same repair as for a flushed queue.
            ports.due_queue.enqueue(&due).await?;
            for entry in &due {
                info!(
                    event = "vz_sync_enqueue",
                    team_id = entry.key.team.0,
                    scope = entry.key.scope.as_str(),
                    job_id = entry.job.0,
                    class = entry.class.as_str(),
                    "scope is due"
                );
            }
            self.args.dispatcher.wake();
            if due.len() < settings.claim_batch as usize {
                return Ok(());
            }
        }
    }
}

/// Turns wake-ups of other replicas and of ended runs into nudges.
async fn listen(args: SchedulerArgs, myself: Mailbox<SchedulerMsg>) {
    let wake = Wake::new(myself, args.nudged.clone(), || SchedulerMsg::Nudge);
    let mut listener = args.parts.ports.signals.listen();
    loop {
        match listener.next().await {
            Heard::Signal(Signal::StatesDue) | Heard::Lagged => wake.wake(),
            Heard::Signal(_) => {}
            Heard::Closed => return,
        }
    }
}
