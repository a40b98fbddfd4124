//! Takes deliveries from the job bus and routes each to the actor of its
//! (team, scope), as permits allow.
//!
//! Owns the permits and the unrouted deliveries. A delivery that is dropped
//! unsettled comes again, so nothing is lost if this actor dies. It never
//! acks: that is done after the durable decision, by whoever takes it. Only
//! what can never be handled is dead-lettered here. While this replica has no
//! share of the request limits it takes no deliveries: it could only put them
//! off, and others are there to run them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::domain::fairness::{Admission, Asking, FairLanes};
use crate::domain::job::Lane;
use crate::domain::{ScopeKey, TeamId};
use crate::kit::{
    ActorError, Behaviour, Context, Mailbox, Message, PoolMsg, TaskEnd, TaskHandle, TimerHandle,
};
use crate::parts::Parts;
use crate::ports::job_bus::{Delivery, JOB_SCHEMA_VERSION, JobMessage};
use crate::team_sync::{Order, TeamSyncMsg};

/// The address of the pool of team-sync actors.
pub type TeamPool = Mailbox<PoolMsg<ScopeKey, TeamSyncMsg>>;

/// What the intake understands.
pub enum IntakeMsg {
    /// The bus delivered a job.
    Delivered(Delivery),
    /// A permit of this lane came back.
    Freed(TeamId, Lane),
    /// A lane's consumer task ended; it restarts after a pause.
    ConsumerEnded(Lane, TaskEnd<()>),
    /// Start consuming a lane.
    Consume(Lane),
    /// The task that counts permits back ended.
    CounterEnded(TaskEnd<()>),
}

impl Message for IntakeMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Freed(..) => "freed",
            Self::ConsumerEnded(..) => "consumer_ended",
            Self::Consume(_) => "consume",
            Self::CounterEnded(_) => "counter_ended",
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
}

/// Leave to run one job. Dropping it, wherever that happens, gives it back.
pub struct Permit {
    team: TeamId,
    lane: Lane,
    back: mpsc::UnboundedSender<(TeamId, Lane)>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A restarted intake starts its count anew and has no receiver for
        // permits of its former life.
        let _ = self.back.send((self.team, self.lane));
    }
}

/// The actor.
pub struct Intake {
    args: IntakeArgs,
    /// Deliveries by lane, oldest first; the prefetch bounds them.
    waiting: BTreeMap<Lane, VecDeque<(JobMessage, Delivery)>>,
    lanes: FairLanes,
    in_use: usize,
    in_use_not_high: usize,
    by_team: BTreeMap<TeamId, usize>,
    back: mpsc::UnboundedSender<(TeamId, Lane)>,
    _counter: TaskHandle,
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
        let (back, freed) = mpsc::unbounded_channel();
        let counter =
            ctx.run_task(count_back(freed, ctx.myself().clone()), IntakeMsg::CounterEnded);
        for lane in Lane::ALL {
            ctx.send_self(IntakeMsg::Consume(lane));
        }
        let details = Details { permits: args.parts.settings.permits.total, ..Details::default() };
        Ok(Self {
            args,
            waiting: Lane::ALL.into_iter().map(|lane| (lane, VecDeque::new())).collect(),
            lanes: FairLanes::default(),
            in_use: 0,
            in_use_not_high: 0,
            by_team: BTreeMap::new(),
            back,
            _counter: counter,
            consumers: BTreeMap::new(),
            retries: BTreeMap::new(),
            details,
        })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            IntakeMsg::Delivered(delivery) => self.take(delivery).await,
            IntakeMsg::Freed(team, lane) => self.freed(team, lane),
            IntakeMsg::Consume(lane) => self.consume(lane, ctx),
            IntakeMsg::ConsumerEnded(lane, end) => self.consumer_ended(lane, &end, ctx),
            IntakeMsg::CounterEnded(end) => {
                return Err(ActorError::new(format!("permits are no longer counted: {end:?}")));
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
        let (measured, myself) = (self.args.parts.measured.clone(), ctx.myself().clone());
        let task = async move {
            measured.asking(true).await;
            let mut consumer = match bus.consume(lane, prefetch).await {
                Ok(consumer) => consumer,
                Err(error) => {
                    warn!(event = "vz_sync_consume_failed", lane = lane.as_str(), %error, "cannot consume");
                    return;
                }
            };
            loop {
                let next = tokio::select! {
                    biased;
                    () = measured.asking(false) => return,
                    next = consumer.next() => next,
                };
                match next {
                    // Refused only when more waits than all prefetches
                    // together, which is a fault: the delivery comes again.
                    Ok(delivery) => drop(myself.cast(IntakeMsg::Delivered(delivery))),
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
        // Dropped, they go back to the bus, for whoever can run them: the last
        // one first, since each goes to the front.
        let waiting = self.waiting.entry(lane).or_default();
        while waiting.pop_back().is_some() {}
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

    fn freed(&mut self, team: TeamId, lane: Lane) {
        self.in_use = self.in_use.saturating_sub(1);
        if lane != Lane::High {
            self.in_use_not_high = self.in_use_not_high.saturating_sub(1);
        }
        if let Some(count) = self.by_team.get_mut(&team) {
            *count -= 1;
            if *count == 0 {
                self.by_team.remove(&team);
            }
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
            self.in_use += 1;
            if lane != Lane::High {
                self.in_use_not_high += 1;
            }
            *self.by_team.entry(key.team).or_default() += 1;
            let permit = Permit { team: key.team, lane, back: self.back.clone() };
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
        let running_of = |team| self.by_team.get(&team).copied().unwrap_or(0);
        self.waiting[&lane].iter().position(|(message, _)| {
            let team = message.key.team;
            let others_wait = self.waiting.values().flatten().any(|(other, _)| {
                other.key.team != team && running_of(other.key.team) < permits.per_team
            });
            let asking = Asking {
                lane,
                running: self.in_use,
                running_not_high: self.in_use_not_high,
                running_of_team: running_of(team),
                others_wait,
            };
            permits.admit(&asking) == Admission::Granted
        })
    }

    fn show(&mut self, ctx: &Context<Self>) {
        self.details.in_use = self.in_use;
        self.details.waiting_high = self.waiting[&Lane::High].len();
        self.details.waiting_normal = self.waiting[&Lane::Normal].len();
        self.details.waiting_low = self.waiting[&Lane::Low].len();
        ctx.set_details(self.details.clone());
    }
}

/// Turns dropped permits into messages.
async fn count_back(
    mut freed: mpsc::UnboundedReceiver<(TeamId, Lane)>,
    myself: Mailbox<IntakeMsg>,
) {
    while let Some((team, lane)) = freed.recv().await {
        // A permit must not be lost to a full mailbox.
        while myself.cast(IntakeMsg::Freed(team, lane)).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
