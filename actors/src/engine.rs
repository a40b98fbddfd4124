//! Starts, wires and stops the actors, and is the only way in from outside.
//!
//! Addresses come first and actors second, so that each actor is built with
//! the address of the one downstream of it. Starts top to bottom, stops
//! bottom to top: the scheduler stops claiming before the runs hand back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use time::OffsetDateTime;

use crate::broadcaster::{Broadcaster, BroadcasterArgs, BroadcasterMsg, Subscription};
use crate::dispatcher::{Dispatcher, DispatcherArgs, DispatcherMsg};
use crate::domain::event::Progress;
use crate::domain::{Event, EventNo, ScopeKey, TeamId};
use crate::intake::{InUse, Intake, IntakeArgs, TeamPool};
use crate::janitor::Janitor;
use crate::key_prober::KeyProber;
use crate::kit::{
    ActorError, ActorId, AskError, Child, Mailbox, Pool, PoolArgs, PoolMsg, PoolSettings, Roster,
    StopReport, Supervised, TreeFailure,
};
use crate::parts::{Measured, Parts, Ports};
use crate::ports::outbox::OutboxBounds;
use crate::ports::signals::Signal;
use crate::ports::store::{Requested, Resting, SyncRequest};
use crate::ports::{PortError, PortResult};
use crate::pulse::Pulse;
use crate::scheduler::{Scheduler, SchedulerArgs, SchedulerMsg};
use crate::settings::Settings;
use crate::standby::StandbyQueue;
use crate::team_sync::{TeamSync, TeamSyncArgs, TeamSyncMsg};
use crate::wake::Wake;

/// How long an actor may take to answer a request from outside.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A running engine. Dropping it stops the actors unobserved; prefer
/// [`Engine::shutdown`].
pub struct Engine {
    tree: Supervised,
    handle: EngineHandle,
}

/// The way in: cheap to clone, valid as long as the engine runs.
#[derive(Clone)]
pub struct EngineHandle {
    parts: Parts,
    roster: Roster,
    scheduler: Wake<SchedulerMsg>,
    broadcaster: Mailbox<BroadcasterMsg>,
    pool: TeamPool,
}

/// Why a subscription could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubscribeError {
    /// The broadcaster is busy or down: try again.
    #[error(transparent)]
    Actor(#[from] AskError),
    /// The outbox could not be read.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Engine {
    /// Starts every actor of the tree.
    pub async fn start(ports: Ports, settings: Settings) -> Result<Self, ActorError> {
        let clock = ports.clock.clone();
        let wall: Arc<dyn Fn() -> OffsetDateTime + Send + Sync> = Arc::new(move || clock.wall());
        // Restart jitter is drawn from the boot id, so that a simulation repeats.
        let seed = settings.replica.0.as_u64_pair().0;
        let roster = Roster::new(wall, seed);
        let due_queue = Arc::new(StandbyQueue::new(ports.due_queue));
        let parts = Parts::new(Ports { due_queue, ..ports }, settings);
        let settings = parts.settings.clone();
        let (bound, root) = (settings.mailbox_bound, ActorId::root());

        let pulse = Mailbox::new::<Pulse>(root.child("pulse"), bound, &roster);
        let broadcaster =
            Mailbox::new::<Broadcaster>(root.child("event_broadcaster"), bound, &roster);
        let pool: TeamPool =
            Mailbox::new::<Pool<ScopeKey, TeamSync>>(root.child("team_pool"), bound, &roster);
        let janitor = Mailbox::new::<Janitor>(root.child("janitor"), bound, &roster);
        let prober = Mailbox::new::<KeyProber>(root.child("key_prober"), bound, &roster);
        let intake = Mailbox::new::<Intake>(root.child("job_intake"), bound, &roster);
        let dispatcher = Mailbox::new::<Dispatcher>(root.child("dispatcher"), bound, &roster);
        let scheduler = Mailbox::new::<Scheduler>(root.child("scheduler"), bound, &roster);

        let (told, dispatch, schedule) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), Arc::default());
        let dispatcher_wake =
            Wake::new(dispatcher.clone(), dispatch.clone(), || DispatcherMsg::Nudge);
        let scheduler_wake =
            Wake::new(scheduler.clone(), Arc::clone(&schedule), || SchedulerMsg::Nudge);

        let policy = || settings.restart.clone();
        let children = vec![
            Child::permanent::<Pulse>(&pulse, parts.clone(), policy()),
            Child::permanent::<Broadcaster>(
                &broadcaster,
                BroadcasterArgs { parts: parts.clone(), nudged: told },
                policy(),
            ),
            Child::permanent::<Pool<ScopeKey, TeamSync>>(&pool, pool_args(&parts), policy())
                .stop_timeout(settings.stop_timeout),
            Child::permanent::<Janitor>(&janitor, parts.clone(), policy()),
            Child::permanent::<KeyProber>(&prober, parts.clone(), policy()),
            Child::permanent::<Intake>(
                &intake,
                IntakeArgs {
                    parts: parts.clone(),
                    pool: pool.clone(),
                    in_use: InUse::new(intake.clone()),
                },
                policy(),
            ),
            Child::permanent::<Dispatcher>(
                &dispatcher,
                DispatcherArgs { parts: parts.clone(), nudged: dispatch },
                policy(),
            ),
            Child::permanent::<Scheduler>(
                &scheduler,
                SchedulerArgs {
                    parts: parts.clone(),
                    dispatcher: dispatcher_wake,
                    nudged: schedule,
                },
                policy(),
            ),
        ];
        let tree = Supervised::start(&roster, children).await?;
        let handle = EngineHandle { parts, roster, scheduler: scheduler_wake, broadcaster, pool };
        Ok(Self { tree, handle })
    }

    /// The way in.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Resolves when an actor could not be kept up: shut down and end
    /// non-zero.
    pub fn failed(&self) -> impl Future<Output = TreeFailure> + Send + 'static {
        self.tree.failed()
    }

    /// Whether the root supervisor answers: the heartbeat behind liveness.
    pub async fn is_alive(&self, timeout: Duration) -> bool {
        self.tree.is_alive(timeout).await
    }

    /// Stops claiming, hands runs back, releases what is held and leaves the
    /// fleet. Says who had to be killed.
    pub async fn shutdown(self) -> StopReport {
        let Self { tree, handle } = self;
        let report = tree.shutdown().await;
        let Parts { ports, settings, .. } = &handle.parts;
        // Without it the replica is found dead by its heartbeat instead.
        let leave = ports.replicas.leave(settings.replica);
        let _ = tokio::time::timeout(ASK_TIMEOUT, leave).await;
        report
    }
}

/// The pool of team-sync actors.
fn pool_args(parts: &Parts) -> PoolArgs<ScopeKey, TeamSync> {
    let settings = PoolSettings {
        idle_after: parts.settings.passivate_after,
        max_live: parts.settings.max_live,
        policy: parts.settings.restart.clone(),
        stop_timeout: parts.settings.stop_timeout.saturating_sub(Duration::from_secs(1)),
        ..PoolSettings::default()
    };
    let parts = parts.clone();
    PoolArgs::new(settings, move |key| TeamSyncArgs { parts: parts.clone(), key: *key })
}

impl EngineHandle {
    /// Makes scopes due sooner. Durable once it answers; the scheduler is
    /// nudged, and finds it by itself if the nudge is lost. Refused where the
    /// pipeline is off, whatever the rollout says.
    pub async fn trigger(&self, request: &SyncRequest) -> PortResult<Requested> {
        if !self.parts.settings.pipeline {
            return Ok(Requested::Resting(Resting::OutOfRollout));
        }
        let requested = self.parts.ports.store.request(request).await?;
        if let Requested::Accepted(_) = requested {
            self.scheduler.wake();
        }
        Ok(requested)
    }

    /// Tells the scheduler of every replica that states were made due.
    pub fn nudge(&self) {
        self.scheduler.wake();
        self.parts.ports.signals.send(Signal::StatesDue);
    }

    /// A team's events from now on.
    pub async fn subscribe(&self, team: TeamId) -> Result<Subscription, SubscribeError> {
        let ask = |reply| BroadcasterMsg::Subscribe { team, reply };
        Ok(self.broadcaster.ask(ASK_TIMEOUT, ask).await??)
    }

    /// A team's durable events after a number, for resuming.
    pub async fn replay(
        &self,
        team: TeamId,
        after: EventNo,
        limit: usize,
    ) -> PortResult<Vec<Event>> {
        self.parts.ports.outbox.after(&[(team, after)], limit).await
    }

    /// Which numbers a team's outbox holds.
    pub async fn outbox_bounds(&self, team: TeamId) -> PortResult<Option<OutboxBounds>> {
        self.parts.ports.outbox.bounds(team).await
    }

    /// How far the run of a scope was when it was last heard of.
    pub fn progress(&self, key: ScopeKey) -> Option<Progress> {
        self.parts.measured.progress(key)
    }

    /// What is known of every actor, read without disturbing one.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What the engine has measured.
    pub fn measured(&self) -> &Measured {
        &self.parts.measured
    }

    /// The same, for a task that outlives the borrow.
    pub fn measured_arc(&self) -> Arc<Measured> {
        self.parts.measured.clone()
    }

    /// The ports, for queries that need no actor.
    pub fn ports(&self) -> &Ports {
        &self.parts.ports
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// Stops the run in hand of a scope, if this replica has it, and says
    /// whether there was one.
    pub async fn cancel_run(&self, key: ScopeKey, by: &str) -> Result<bool, AskError> {
        // A message to an actor that is not there would start it.
        if self.roster.get(&self.pool.id().child(key)).is_none() {
            return Ok(false);
        }
        let cancel = |reply| {
            let message = TeamSyncMsg::Cancel { by: by.to_owned(), reply };
            PoolMsg::Route { key, message }
        };
        self.pool.ask(ASK_TIMEOUT, cancel).await
    }
}
