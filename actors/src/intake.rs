//! Takes deliveries from the job bus and routes each to the actor of its
//! (team, scope), as permits allow. Passes on that a team's runs may have lost
//! their leases.
//!
//! Owns the unrouted deliveries and gives out permits; what runs is counted
//! outside of it, since runs go on when this actor dies. A delivery that is
//! dropped unsettled comes again, so nothing is lost then. It never acks: that
//! is done after the durable decision, by whoever takes it. Only what can
//! never be handled is dead-lettered here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tracing::{debug, error, warn};

use crate::domain::fairness::{Admission, FairLanes, Running};
use crate::domain::job::Lane;
use crate::domain::{Scope, ScopeKey, TeamId};
use crate::kit::{
    ActorError, Behaviour, Context, Mailbox, Message, PoolMsg, TaskEnd, TaskHandle, TimerHandle,
};
use crate::parts::Parts;
use crate::ports::job_bus::{Delivery, JOB_SCHEMA_VERSION, JobMessage};
use crate::ports::signals::{Heard, Signal};
use crate::team_sync::{Order, TeamSyncMsg};
use crate::wake::Wake;

/// The address of the pool of team-sync actors.
pub type TeamPool = Mailbox<PoolMsg<ScopeKey, TeamSyncMsg>>;

/// What the intake understands.
pub enum IntakeMsg {
    /// The bus delivered a job.
    Delivered(Delivery),
    /// A permit came back.
    Freed,
    /// A lane's consumer task ended; it restarts after a pause.
    ConsumerEnded(Lane, TaskEnd<()>),
    /// Start consuming a lane.
    Consume(Lane),
    /// Leases of a team's runs may have been taken away.
    RunsChanged(TeamId),
    /// The listener for wake-ups ended.
    ListenerEnded(TaskEnd<()>),
}

impl Message for IntakeMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Freed => "freed",
            Self::ConsumerEnded(..) => "consumer_ended",
            Self::Consume(_) => "consume",
            Self::RunsChanged(_) => "runs_changed",
            Self::ListenerEnded(_) => "listener_ended",
        }
    }
}

/// All it takes to build an intake.
#[derive(Clone)]
pub struct IntakeArgs {
    /// Ports and settings.
    pub parts: Parts,
    /// The actors downstream.
    pub pool: TeamPool,
    /// The permits in use.
    pub in_use: InUse,
}

/// The permits in use on this replica. It outlives the intake, as the runs do:
/// one that counted anew after a restart would run too many at once.
#[derive(Clone)]
pub struct InUse {
    running: Arc<Mutex<Running>>,
    nudged: Arc<AtomicBool>,
    freed: Wake<IntakeMsg>,
}

impl InUse {
    /// Nothing runs; permits that come back are told to this intake.
    pub fn new(intake: Mailbox<IntakeMsg>) -> Self {
        let nudged = Arc::<AtomicBool>::default();
        let freed = Wake::new(intake, nudged.clone(), || IntakeMsg::Freed);
        Self { running: Arc::default(), nudged, freed }
    }

    /// Takes a permit, whether or not there is one left: that is for
    /// [`Permits::admit`](crate::domain::fairness::Permits::admit) to say.
    pub fn take(&self, team: TeamId, lane: Lane) -> Permit {
        self.running().begin(team, lane);
        Permit { team, lane, in_use: self.clone() }
    }

    /// What runs now. Not to be held across a wait.
    pub fn running(&self) -> MutexGuard<'_, Running> {
        // Its counts are valid after every statement.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to run one job. Dropping it, wherever that happens, gives it back.
pub struct Permit {
    team: TeamId,
    lane: Lane,
    in_use: InUse,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_use.running().end(self.team, self.lane);
        self.in_use.freed.wake();
    }
}

/// The actor.
pub struct Intake {
    args: IntakeArgs,
    /// Deliveries by lane, oldest first; the prefetch bounds them.
    waiting: BTreeMap<Lane, VecDeque<(JobMessage, Delivery)>>,
    lanes: FairLanes,
    _listener: TaskHandle,
    consumers: BTreeMap<Lane, TaskHandle>,
    retries: BTreeMap<Lane, TimerHandle>,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    permits: usize,
    in_use: usize,
    waiting_high: usize,
    waiting_normal: usize,
    waiting_low: usize,
    routed_total: u64,
    dead_lettered_total: u64,
    last_error: Option<String>,
}

/// How long a lane rests after its consumer ended.
const CONSUMER_PAUSE: Duration = Duration::from_secs(1);

#[async_trait]
impl Behaviour for Intake {
    type Msg = IntakeMsg;
    type Args = IntakeArgs;
    const KIND: &'static str = "job_intake";

    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        args.in_use.nudged.store(false, Ordering::Release);
        let listener = ctx
            .run_task(listen(args.parts.clone(), ctx.myself().clone()), IntakeMsg::ListenerEnded);
        if args.parts.settings.pipeline {
            for lane in Lane::ALL {
                ctx.send_self(IntakeMsg::Consume(lane));
            }
        }
        let details = Details { permits: args.parts.settings.permits.total, ..Details::default() };
        Ok(Self {
            args,
            waiting: Lane::ALL.into_iter().map(|lane| (lane, VecDeque::new())).collect(),
            lanes: FairLanes::default(),
            _listener: listener,
            consumers: BTreeMap::new(),
            retries: BTreeMap::new(),
            details,
        })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        // Whatever the message is, all permits that came back are seen below.
        self.args.in_use.nudged.store(false, Ordering::Release);
        match message {
            IntakeMsg::Delivered(delivery) => self.take(delivery).await,
            IntakeMsg::Freed => {}
            IntakeMsg::Consume(lane) => self.consume(lane, ctx),
            IntakeMsg::ConsumerEnded(lane, end) => self.consumer_ended(lane, &end, ctx),
            IntakeMsg::RunsChanged(team) => self.doubt_runs(team),
            IntakeMsg::ListenerEnded(end) => {
                return Err(ActorError::new(format!("the wake-up listener ended: {end:?}")));
            }
        }
        self.route();
        self.show(ctx);
        Ok(())
    }
}

impl Intake {
    fn consume(&mut self, lane: Lane, ctx: &Context<Self>) {
        let (bus, prefetch) =
            (self.args.parts.ports.job_bus.clone(), self.args.parts.settings.permits.total);
        let myself = ctx.myself().clone();
        let task = async move {
            let mut consumer = match bus.consume(lane, prefetch).await {
                Ok(consumer) => consumer,
                Err(error) => {
                    warn!(event = "vz_sync_consume_failed", lane = lane.as_str(), %error, "cannot consume");
                    return;
                }
            };
            loop {
                match consumer.next().await {
                    Ok(delivery) => {
                        // Refused when the actor is down, or when more waits
                        // than all prefetches together. The delivery comes
                        // again, but not to this consumer, which would take
                        // and lose it until it counts as undeliverable.
                        if let Err(refused) = myself.cast(IntakeMsg::Delivered(delivery)) {
                            debug!(lane = lane.as_str(), why = %refused.why, "consumer ends");
                            return;
                        }
                    }
                    Err(error) => {
                        warn!(event = "vz_sync_consume_failed", lane = lane.as_str(), %error, "consumer ended");
                        return;
                    }
                }
            }
        };
        let handle = ctx.run_task(task, move |end| IntakeMsg::ConsumerEnded(lane, end));
        self.consumers.insert(lane, handle);
    }

    fn consumer_ended(&mut self, lane: Lane, end: &TaskEnd<()>, ctx: &Context<Self>) {
        self.details.last_error = Some(format!("consumer of {lane} ended: {end:?}"));
        let again = ctx.send_after(CONSUMER_PAUSE, IntakeMsg::Consume(lane));
        self.retries.insert(lane, again);
    }

    /// Files a delivery, or sets it aside when it can never be handled.
    async fn take(&mut self, delivery: Delivery) {
        let reason = match &delivery.message {
            Ok(message) if message.schema_version <= JOB_SCHEMA_VERSION => {
                let (lane, message) = (delivery.lane, message.clone());
                self.waiting.entry(lane).or_default().push_back((message, delivery));
                return;
            }
            Ok(message) => format!("schema version {} is newer than ours", message.schema_version),
            Err(reason) => reason.clone(),
        };
        error!(event = "vz_sync_dead_lettered", lane = delivery.lane.as_str(), reason = %reason, "job message cannot be handled");
        self.details.dead_lettered_total += 1;
        if let Err(error) = delivery.dead_letter(&reason).await {
            self.details.last_error = Some(error.to_string());
        }
    }

    /// Has the team's runs look at their leases now. Refused or lost, they look
    /// at their next renewal.
    fn doubt_runs(&self, team: TeamId) {
        for scope in Scope::ALL {
            let key = ScopeKey::new(team, scope);
            drop(self.args.pool.cast(PoolMsg::Tell { key, message: TeamSyncMsg::Doubt }));
        }
    }

    /// Routes as much as permits allow.
    fn route(&mut self) {
        while let Some((lane, index)) = self.pick() {
            let Some((message, delivery)) =
                self.waiting.get_mut(&lane).and_then(|waiting| waiting.remove(index))
            else {
                return;
            };
            let key = message.key;
            let permit = self.args.in_use.take(key.team, lane);
            let order = Order::new(message, delivery, permit);
            self.details.routed_total += 1;
            let routed = PoolMsg::Route { key, message: TeamSyncMsg::Run(order) };
            if let Err(refused) = self.args.pool.cast(routed) {
                // The order's drop guard returns delivery and permit.
                self.details.last_error = Some(format!("pool refused: {}", refused.why));
                return;
            }
        }
    }

    /// The next delivery to route: by lane weights the oldest that may run.
    fn pick(&mut self) -> Option<(Lane, usize)> {
        let found = Lane::ALL.map(|lane| self.admissible(lane));
        let lane = self.lanes.next(|lane| found[lane as usize].is_some())?;
        found[lane as usize].map(|index| (lane, index))
    }

    /// The oldest delivery of a lane that may run now.
    fn admissible(&self, lane: Lane) -> Option<usize> {
        let permits = self.args.parts.settings.permits;
        let running = self.args.in_use.running();
        self.waiting[&lane].iter().position(|(message, _)| {
            let team = message.key.team;
            let others_wait = self.waiting.values().flatten().any(|(other, _)| {
                other.key.team != team && running.of_team(other.key.team) < permits.per_team
            });
            permits.admit(&running.asking(team, lane, others_wait)) == Admission::Granted
        })
    }

    fn show(&mut self, ctx: &Context<Self>) {
        self.details.in_use = self.args.in_use.running().total();
        self.details.waiting_high = self.waiting[&Lane::High].len();
        self.details.waiting_normal = self.waiting[&Lane::Normal].len();
        self.details.waiting_low = self.waiting[&Lane::Low].len();
        ctx.set_details(self.details.clone());
    }
}

/// Turns wake-ups about leases into messages.
async fn listen(parts: Parts, myself: Mailbox<IntakeMsg>) {
    let mut listener = parts.ports.signals.listen();
    loop {
        match listener.next().await {
            Heard::Signal(Signal::RunsChanged(team)) => {
                drop(myself.cast(IntakeMsg::RunsChanged(team)));
            }
            // What was missed is found at the runs' next renewal.
            Heard::Signal(_) | Heard::Lagged => {}
            Heard::Closed => return,
        }
    }
}
