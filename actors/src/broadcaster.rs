//! Tells subscribers and outside consumers what happened.
//!
//! Owns the hubs of the teams that have subscribers here, each with the
//! number up to which it has told. The outbox is the truth: hubs tail it, so
//! a subscriber sees every number in order, and a wake-up that is lost costs
//! at most one poll. The hub of a team that was removed goes, and with it its
//! subscriptions. If this actor dies, subscriptions end and clients resume
//! from the outbox with the last number they saw. Passing events come over
//! the event bus and may be lost.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::domain::{Event, EventBody, EventNo, TeamId};
use crate::kit::{
    ActorError, Behaviour, Context, Mailbox, Message, Reply, TaskEnd, TaskHandle, TimerHandle,
};
use crate::parts::Parts;
use crate::ports::signals::{Heard, Signal};
use crate::ports::{PortError, PortResult};
pub use crate::subscription::{Subscription, Told};
use crate::wake::Wake;

/// Events read from the outbox at once.
const TAIL_BATCH: usize = 1000;
/// Events relayed at once.
const RELAY_BATCH: usize = 200;
/// How long the source of passing events rests after it ended.
const SOURCE_PAUSE: Duration = Duration::from_secs(1);

/// What the broadcaster understands.
pub enum BroadcasterMsg {
    /// Somebody wants a team's events from now on.
    Subscribe {
        /// Whose.
        team: TeamId,
        /// Where the subscription goes; an error tells why there is none.
        reply: Reply<PortResult<Subscription>>,
    },
    /// An outbox grew.
    Nudge,
    /// A team may have been removed.
    TeamsChanged,
    /// The poll interval has passed.
    Poll,
    /// A passing event came over the bus.
    Passing(Event),
    /// The listener for wake-ups ended.
    ListenerEnded(TaskEnd<()>),
    /// The source of passing events ended; it is opened again after a pause.
    SourceEnded(TaskEnd<()>),
    /// Open the source of passing events.
    OpenSource,
}

impl Message for BroadcasterMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } => "subscribe",
            Self::Nudge => "nudge",
            Self::TeamsChanged => "teams_changed",
            Self::Poll => "poll",
            Self::Passing(_) => "passing",
            Self::ListenerEnded(_) => "listener_ended",
            Self::SourceEnded(_) => "source_ended",
            Self::OpenSource => "open_source",
        }
    }

    fn abandoned(&self) -> bool {
        matches!(self, Self::Subscribe { reply, .. } if reply.is_closed())
    }
}

/// All it takes to build a broadcaster.
#[derive(Clone)]
pub struct BroadcasterArgs {
    /// Ports and settings.
    pub parts: Parts,
    /// Whether a nudge waits in the mailbox already.
    pub nudged: Arc<AtomicBool>,
}

struct Hub {
    told: EventNo,
    out: broadcast::Sender<Arc<Told>>,
}

/// The actor.
pub struct Broadcaster {
    args: BroadcasterArgs,
    hubs: HashMap<TeamId, Hub>,
    /// When the hubs' teams were last known to be there.
    verified_at: Option<Instant>,
    next_poll: TimerHandle,
    _listener: TaskHandle,
    source: Option<TaskHandle>,
    source_retry: Option<TimerHandle>,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    teams: usize,
    subscribers: usize,
    told_total: u64,
    relayed_total: u64,
    holds_relay_lease: bool,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for Broadcaster {
    type Msg = BroadcasterMsg;
    type Args = BroadcasterArgs;
    const KIND: &'static str = "event_broadcaster";

    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        // A nudge of the former incarnation went down with it, so look at once.
        args.nudged.store(false, Ordering::Release);
        let next_poll = ctx.send_after(Duration::ZERO, BroadcasterMsg::Poll);
        let listener =
            ctx.run_task(listen(args.clone(), ctx.myself().clone()), BroadcasterMsg::ListenerEnded);
        ctx.send_self(BroadcasterMsg::OpenSource);
        Ok(Self {
            args,
            hubs: HashMap::new(),
            verified_at: None,
            next_poll,
            _listener: listener,
            source: None,
            source_retry: None,
            details: Details::default(),
        })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            BroadcasterMsg::Subscribe { team, reply } => reply.send(self.subscribe(team).await),
            BroadcasterMsg::Nudge | BroadcasterMsg::Poll => self.look(ctx).await,
            BroadcasterMsg::TeamsChanged => {
                self.verified_at = None;
                self.look(ctx).await;
            }
            BroadcasterMsg::Passing(event) => self.pass_on(event),
            BroadcasterMsg::OpenSource => self.open_source(ctx),
            BroadcasterMsg::SourceEnded(end) => {
                debug!(?end, "the source of passing events ended");
                let again = ctx.send_after(SOURCE_PAUSE, BroadcasterMsg::OpenSource);
                self.source_retry = Some(again);
            }
            BroadcasterMsg::ListenerEnded(end) => {
                return Err(ActorError::new(format!("the wake-up listener ended: {end:?}")));
            }
        }
        self.show(ctx);
        Ok(())
    }
}

impl Broadcaster {
    async fn subscribe(&mut self, team: TeamId) -> PortResult<Subscription> {
        let hub = match self.hubs.entry(team) {
            Entry::Occupied(hub) => hub.into_mut(),
            Entry::Vacant(place) => {
                let outbox = &self.args.parts.ports.outbox;
                if !outbox.gone(&[team]).await?.is_empty() {
                    return Err(PortError::NotFound(format!("team {team}")));
                }
                let bounds = outbox.bounds(team).await?;
                let told = bounds.map_or(EventNo(0), |bounds| bounds.last);
                let out = broadcast::Sender::new(self.args.parts.settings.subscriber_buffer);
                place.insert(Hub { told, out })
            }
        };
        Ok(Subscription { from: hub.told, live: hub.out.subscribe() })
    }

    /// Tails the outbox, parts with removed teams and relays, then re-arms the
    /// poll.
    async fn look(&mut self, ctx: &Context<Self>) {
        // Before the look: what comes during it nudges again.
        self.args.nudged.store(false, Ordering::Release);
        let looked = async {
            self.tail().await?;
            self.part().await?;
            self.relay().await
        };
        let looked = looked.await;
        self.details.last_error = looked.err().map(|error| {
            warn!(event = "vz_sync_broadcast_failed", error = %error, "could not read the outbox");
            error.to_string()
        });
        let poll = self.args.parts.settings.outbox_poll;
        self.next_poll = ctx.send_after(poll, BroadcasterMsg::Poll);
    }

    async fn tail(&mut self) -> PortResult<()> {
        self.hubs.retain(|_, hub| hub.out.receiver_count() > 0);
        loop {
            let mut cursors: Vec<_> =
                self.hubs.iter().map(|(team, hub)| (*team, hub.told)).collect();
            cursors.sort_unstable();
            if cursors.is_empty() {
                return Ok(());
            }
            let events = self.args.parts.ports.outbox.after(&cursors, TAIL_BATCH).await?;
            let more = events.len() == TAIL_BATCH;
            for event in events {
                let (Some(hub), Some(no)) = (self.hubs.get_mut(&event.team_id), event.no) else {
                    continue;
                };
                hub.told = hub.told.max(no);
                self.details.told_total += 1;
                // Without a receiver the hub goes at the next look.
                let _ = hub.out.send(Arc::new(Told::new(event)));
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Ends the subscriptions of removed teams. Signals may be lost, so it is
    /// looked at once a poll interval, too.
    async fn part(&mut self) -> PortResult<()> {
        let poll = self.args.parts.settings.outbox_poll;
        if self.verified_at.is_some_and(|at| at.elapsed() < poll) {
            return Ok(());
        }
        let mut teams: Vec<_> = self.hubs.keys().copied().collect();
        teams.sort_unstable();
        if !teams.is_empty() {
            for team in self.args.parts.ports.outbox.gone(&teams).await? {
                self.hubs.remove(&team);
            }
        }
        self.verified_at = Some(Instant::now());
        Ok(())
    }

    /// Copies durable events to the event bus, if the relay lease is ours.
    async fn relay(&mut self) -> PortResult<()> {
        let Parts { ports, settings, .. } = &self.args.parts;
        loop {
            let batch =
                ports.outbox.unrelayed(settings.replica, settings.relay_lease, RELAY_BATCH).await?;
            self.details.holds_relay_lease = batch.is_some();
            let Some(events) = batch.filter(|events| !events.is_empty()) else { return Ok(()) };
            let mut relayed = Vec::with_capacity(events.len());
            let mut failed = None;
            for event in &events {
                match ports.event_bus.relay(event).await {
                    Ok(()) => relayed.extend(event.no.map(|no| (event.team_id, no))),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            if !relayed.is_empty() {
                ports.outbox.relayed(&relayed).await?;
                self.details.relayed_total += relayed.len() as u64;
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if events.len() < RELAY_BATCH {
                return Ok(());
            }
        }
    }

    fn pass_on(&mut self, event: Event) {
        if let EventBody::Progress(progress) = &event.body {
            self.args.parts.measured.note_progress(event.team_id, progress.clone());
        }
        if let Some(hub) = self.hubs.get(&event.team_id) {
            let _ = hub.out.send(Arc::new(Told::new(event)));
        }
    }

    fn open_source(&mut self, ctx: &Context<Self>) {
        let (bus, myself) = (self.args.parts.ports.event_bus.clone(), ctx.myself().clone());
        let task = async move {
            let mut source = match bus.subscribe().await {
                Ok(source) => source,
                Err(error) => {
                    warn!(event = "vz_sync_event_source_failed", error = %error, "no passing events");
                    return;
                }
            };
            // A passing event that finds the mailbox full is dropped.
            while let Ok(event) = source.next().await {
                drop(myself.cast(BroadcasterMsg::Passing(event)));
            }
        };
        self.source = Some(ctx.run_task(task, BroadcasterMsg::SourceEnded));
    }

    fn show(&mut self, ctx: &Context<Self>) {
        self.details.teams = self.hubs.len();
        self.details.subscribers = self.hubs.values().map(|hub| hub.out.receiver_count()).sum();
        ctx.set_details(self.details.clone());
    }
}

/// Turns wake-ups of other replicas and of commits into nudges.
async fn listen(args: BroadcasterArgs, myself: Mailbox<BroadcasterMsg>) {
    let wake = Wake::new(myself.clone(), args.nudged.clone(), || BroadcasterMsg::Nudge);
    let mut listener = args.parts.ports.signals.listen();
    loop {
        match listener.next().await {
            Heard::Signal(Signal::Outbox(_)) | Heard::Lagged => wake.wake(),
            Heard::Signal(Signal::RunsChanged(_)) => {
                drop(myself.cast(BroadcasterMsg::TeamsChanged));
            }
            Heard::Signal(_) => {}
            Heard::Closed => return,
        }
    }
}
