//! Moves due scopes from the due queue to the job bus.
//!
//! Owns the lanes' turn-taking and nothing else. Popping is a claim with a
//! lease: an entry that is popped and not confirmed goes back by itself, so
//! nothing is lost if this actor dies. It never looks into a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tracing::{info, warn};

use crate::domain::fairness::FairLanes;
use crate::domain::job::Lane;
use crate::domain::{JobId, ScopeKey};
use crate::kit::{
    ActorError, Behaviour, Context, Mailbox, Message, TaskEnd, TaskHandle, TimerHandle,
};
use crate::parts::Parts;
use crate::ports::due_queue::DueEntry;
use crate::ports::job_bus::{JOB_SCHEMA_VERSION, JobMessage};
use crate::ports::signals::{Heard, Signal};
use crate::ports::{PortError, PortResult};
use crate::wake::Wake;

/// What the dispatcher understands.
#[derive(Debug)]
pub enum DispatcherMsg {
    /// The queue grew, or room was made downstream.
    Nudge,
    /// The poll interval has passed.
    Poll,
    /// The listener for wake-ups ended.
    ListenerEnded(TaskEnd<()>),
}

impl Message for DispatcherMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Nudge => "nudge",
            Self::Poll => "poll",
            Self::ListenerEnded(_) => "listener_ended",
        }
    }
}

/// All it takes to build a dispatcher.
#[derive(Clone)]
pub struct DispatcherArgs {
    /// Ports and settings.
    pub parts: Parts,
    /// Whether a nudge waits in the mailbox already.
    pub nudged: Arc<AtomicBool>,
}

/// The actor.
pub struct Dispatcher {
    args: DispatcherArgs,
    lanes: FairLanes,
    next_poll: TimerHandle,
    _listener: TaskHandle,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    room: u64,
    published_total: u64,
    put_back_total: u64,
    queue_away: bool,
    standby: u64,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for Dispatcher {
    type Msg = DispatcherMsg;
    type Args = DispatcherArgs;
    const KIND: &'static str = "dispatcher";

    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        // A nudge of the former incarnation went down with it, so look at once.
        args.nudged.store(false, Ordering::Release);
        let next_poll = ctx.send_after(Duration::ZERO, DispatcherMsg::Poll);
        let listener =
            ctx.run_task(listen(args.clone(), ctx.myself().clone()), DispatcherMsg::ListenerEnded);
        Ok(Self {
            args,
            lanes: FairLanes::default(),
            next_poll,
            _listener: listener,
            details: Details::default(),
        })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            DispatcherMsg::Nudge | DispatcherMsg::Poll => self.pump(ctx).await,
            DispatcherMsg::ListenerEnded(end) => {
                return Err(ActorError::new(format!("the wake-up listener ended: {end:?}")));
            }
        }
        Ok(())
    }
}

impl Dispatcher {
    /// Publishes until the queue is empty or enough is under way, then
    /// re-arms the poll.
    async fn pump(&mut self, ctx: &Context<Self>) {
        // Before the look: what comes during it nudges again.
        self.args.nudged.store(false, Ordering::Release);
        match self.publish_all().await {
            Ok(()) => self.details.last_error = None,
            Err(error) => {
                warn!(event = "vz_sync_dispatch_failed", error = %error, "could not dispatch");
                self.details.last_error = Some(error.to_string());
            }
        }
        let poll = self.args.parts.settings.dispatch_poll;
        self.next_poll = ctx.send_after(poll, DispatcherMsg::Poll);
        ctx.set_details(self.details.clone());
    }

    async fn publish_all(&mut self) -> PortResult<()> {
        let Parts { ports, settings, measured } = self.args.parts.clone();
        if !settings.pipeline {
            return Ok(());
        }
        loop {
            let depths = ports.due_queue.depths().await?;
            self.details.queue_away = depths.away;
            self.details.standby = depths.standby;
            if depths.high + depths.normal + depths.low + depths.in_flight == 0 {
                return Ok(());
            }
            // Ordering lives in the due queue: whatever is on the bus is
            // first come first served, so only little goes there.
            let permits = measured.fleet().map_or(settings.permits.total as u32, |f| f.permits);
            let under_way = ports.store.published_unleased().await?;
            let room = (u64::from(permits) * 2).saturating_sub(under_way);
            self.details.room = room;
            if room == 0 {
                return Ok(());
            }
            let waiting = Lane::ALL.map(|lane| depths.lane(lane));
            let shares = self.lanes.split(room as usize, waiting);
            let mut popped = Vec::new();
            for lane in Lane::ALL {
                // Lanes without a share are popped too when something is in
                // flight: popping is what puts overdue entries back.
                let limit = shares[lane as usize];
                if limit > 0 || depths.in_flight > 0 {
                    popped.extend(ports.due_queue.pop(lane, limit, settings.in_flight).await?);
                }
            }
            if popped.is_empty() {
                return Ok(());
            }
            self.publish(popped).await?;
        }
    }

    /// Publishes a batch, a few at once, and confirms or puts back each.
    async fn publish(&mut self, popped: Vec<DueEntry>) -> PortResult<()> {
        let Parts { ports, settings, .. } = &self.args.parts;
        let mut done: Vec<(JobId, ScopeKey)> = Vec::with_capacity(popped.len());
        let mut failed: Vec<ScopeKey> = Vec::new();
        let mut why: Option<PortError> = None;
        let mut under_way = FuturesUnordered::new();
        let mut waiting = popped.into_iter();
        loop {
            while under_way.len() < settings.publishers {
                let Some(entry) = waiting.next() else { break };
                under_way.push(async move {
                    let message = JobMessage {
                        schema_version: JOB_SCHEMA_VERSION,
                        job: entry.job,
                        key: entry.key,
                        class: entry.class,
                        trace_parent: entry.trace_parent.clone(),
                    };
                    let publish = ports.job_bus.publish(&message);
                    let end = tokio::time::timeout(settings.publish_timeout, publish).await;
                    (entry, end)
                });
            }
            let Some((entry, end)) = under_way.next().await else { break };
            match end {
                Ok(Ok(())) => {
                    info!(
                        event = "vz_sync_job_dispatched",
                        team_id = entry.key.team.0,
                        scope = entry.key.scope.as_str(),
                        job_id = entry.job.0,
                        class = entry.class.as_str(),
                        "job is on the bus"
                    );
                    done.push((entry.job, entry.key));
                }
                Ok(Err(error)) => {
                    failed.push(entry.key);
                    why = Some(error);
                }
                Err(_) => {
                    failed.push(entry.key);
                    why = Some(PortError::OutcomeUnknown {
                        service: "job bus",
                        message: format!("no confirm within {:?}", settings.publish_timeout),
                    });
                }
            }
        }
        drop(under_way);
        self.details.published_total += done.len() as u64;
        self.details.put_back_total += failed.len() as u64;
        let (jobs, keys): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        if !jobs.is_empty() {
            ports.due_queue.confirm(&keys).await?;
            ports.store.mark_published(&jobs).await?;
        }
        if !failed.is_empty() {
            ports.due_queue.put_back(&failed).await?;
        }
        why.map_or(Ok(()), Err)
    }
}

/// Turns wake-ups of other replicas and of ended runs into nudges.
async fn listen(args: DispatcherArgs, myself: Mailbox<DispatcherMsg>) {
    let wake = Wake::new(myself, args.nudged.clone(), || DispatcherMsg::Nudge);
    let mut listener = args.parts.ports.signals.listen();
    loop {
        match listener.next().await {
            Heard::Signal(Signal::QueueMoved) | Heard::Lagged => wake.wake(),
            Heard::Signal(_) => {}
            Heard::Closed => return,
        }
    }
}
