//! What is known of one actor without asking it, so that a stuck actor is still visible.
//!
//! The actor's host, its supervisor and its mailbox write here; `/admin/actors`, the pool's
//! passivation and the metrics read. Times are measured on tokio's clock; the wall clock is a
//! function injected into the roster and only used to show a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::lock;
use super::metrics::KindCounters;
use super::view::{ActorId, ActorState, ActorView, CurrentView, ExitCause, ExitView, MailboxView};

/// The wall clock, for display only.
pub type WallClock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The record of one actor. It outlives the incarnations.
pub struct Vitals {
    id: ActorId,
    kind: &'static str,
    bound: usize,
    wall: WallClock,
    pub(super) counters: Arc<KindCounters>,
    /// The place among its siblings; pool children have none and follow by id.
    pub(super) order: AtomicU32,
    queue: Mutex<Queue>,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Queue {
    /// Waiting messages by ticket number, which grows: removal is a binary search.
    waiting: VecDeque<(u64, Instant)>,
    next: u64,
    high_water: usize,
    rejected: u64,
}

/// What an actor says about itself, made into JSON only when somebody looks:
/// actors say it after every message, and hardly anybody looks.
pub(super) trait Details: Send + Sync {
    fn show(&self) -> serde_json::Value;
}

impl<T: Serialize + Send + Sync> Details for T {
    fn show(&self) -> serde_json::Value {
        serde_json::to_value(self)
            .unwrap_or_else(|error| serde_json::json!({ "cannot_be_shown": error.to_string() }))
    }
}

struct Life {
    phase: Phase,
    started_at: Option<OffsetDateTime>,
    restarts: u32,
    last_exit: Option<ExitView>,
    next_restart: Option<Instant>,
    current: Option<(&'static str, Instant)>,
    tasks: u32,
    idle_since: Instant,
    details: Option<Arc<dyn Details>>,
    /// How the running incarnation ended, noted by its host before the supervisor hears of it.
    exit: Option<(ExitCause, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Up,
    Backoff,
    Stopping,
    Stopped,
    Failed,
}

/// A waiting message's place in the count; dropping it gives the place back, whoever drops it.
pub(super) struct Ticket {
    vitals: Arc<Vitals>,
    number: u64,
    pub(super) sent: Instant,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = lock(&self.vitals.queue);
        if let Ok(index) = queue.waiting.binary_search_by_key(&self.number, |(n, _)| *n) {
            queue.waiting.remove(index);
        }
    }
}

impl Vitals {
    pub(super) fn new(
        id: ActorId,
        kind: &'static str,
        bound: usize,
        wall: WallClock,
        counters: Arc<KindCounters>,
    ) -> Self {
        Self {
            id,
            kind,
            bound,
            wall,
            counters,
            order: AtomicU32::new(u32::MAX),
            queue: Mutex::default(),
            life: Mutex::new(Life {
                phase: Phase::Starting,
                started_at: None,
                restarts: 0,
                last_exit: None,
                next_restart: None,
                current: None,
                tasks: 0,
                idle_since: Instant::now(),
                details: None,
                exit: None,
            }),
        }
    }

    /// The actor's path.
    pub fn id(&self) -> &ActorId {
        &self.id
    }

    /// The actor's kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Messages the mailbox takes before it refuses.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Messages waiting now; the one in hand does not count.
    pub fn depth(&self) -> usize {
        lock(&self.queue).waiting.len()
    }

    /// The age of the oldest waiting message.
    pub fn oldest_age(&self) -> Option<Duration> {
        lock(&self.queue).waiting.front().map(|(_, sent)| sent.elapsed())
    }

    /// What the actor is doing.
    pub fn state(&self) -> ActorState {
        lock(&self.life).state()
    }

    /// For how long the actor has had nothing to do: no message waiting or in hand, no task.
    pub fn idle_for(&self) -> Option<Duration> {
        let life = lock(&self.life);
        let idle = life.state() == ActorState::Idle && self.depth() == 0;
        idle.then(|| life.idle_since.elapsed())
    }

    /// How long until the next restart, while the actor is in backoff.
    pub fn restart_in(&self) -> Option<Duration> {
        let next = lock(&self.life).next_restart;
        next.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Everything, at this moment.
    pub fn view(&self) -> ActorView {
        let (now, wall) = (Instant::now(), (self.wall)());
        let mailbox = {
            let queue = lock(&self.queue);
            MailboxView {
                depth: queue.waiting.len(),
                high_water: queue.high_water,
                oldest_ms: queue.waiting.front().map(|(_, sent)| millis(now - *sent)),
                bound: self.bound,
                rejected: queue.rejected,
            }
        };
        let life = lock(&self.life);
        let state = life.state();
        ActorView {
            id: self.id.clone(),
            kind: self.kind,
            state,
            started_at: life.started_at,
            restarts: life.restarts,
            last_exit: life.last_exit.clone(),
            next_restart_at: life.next_restart.map(|at| wall + (at - now)),
            mailbox,
            current_message: life
                .current
                .map(|(name, since)| CurrentView { name, since_ms: millis(now - since) }),
            tasks: life.tasks,
            idle_since: (state == ActorState::Idle).then(|| wall - (now - life.idle_since)),
            details: life
                .details
                .as_ref()
                .map_or(serde_json::Value::Null, |details| details.show()),
        }
    }

    /// Takes a place in the mailbox; `None` when it is full and the bound applies.
    pub(super) fn admit(self: &Arc<Self>, bounded: bool) -> Option<Ticket> {
        let sent = Instant::now();
        let mut queue = lock(&self.queue);
        if bounded && queue.waiting.len() >= self.bound {
            return None;
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back((number, sent));
        queue.high_water = queue.high_water.max(queue.waiting.len());
        Some(Ticket { vitals: self.clone(), number, sent })
    }

    pub(super) fn reject(&self) {
        lock(&self.queue).rejected += 1;
        self.counters.rejected();
    }

    pub(super) fn begin(&self, message: &'static str) {
        lock(&self.life).current = Some((message, Instant::now()));
    }

    pub(super) fn end(&self) {
        let mut life = lock(&self.life);
        if let Some((name, since)) = life.current.take() {
            life.idle_since = Instant::now();
            drop(life);
            self.counters.handled(name, since.elapsed());
        }
    }

    pub(super) fn task_started(&self) {
        lock(&self.life).tasks += 1;
    }

    pub(super) fn task_ended(&self) {
        let mut life = lock(&self.life);
        life.tasks = life.tasks.saturating_sub(1);
        life.idle_since = Instant::now();
    }

    pub(super) fn set_details(&self, details: Arc<dyn Details>) {
        lock(&self.life).details = Some(details);
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        let mut life = lock(&self.life);
        life.phase = phase;
        life.next_restart = None;
        if phase == Phase::Up {
            life.started_at = Some((self.wall)());
            life.idle_since = Instant::now();
        }
    }

    pub(super) fn set_backoff(&self, delay: Duration) {
        let mut life = lock(&self.life);
        life.phase = Phase::Backoff;
        life.next_restart = Instant::now().checked_add(delay);
    }

    /// The host's note of how its incarnation ends; the first one counts.
    pub(super) fn note_exit(&self, cause: ExitCause, message: String) {
        lock(&self.life).exit.get_or_insert((cause, message));
    }

    /// Closes the record of an incarnation: what its host noted, else what ractor said.
    pub(super) fn close_exit(&self, cause: ExitCause, message: String) -> (ExitCause, String) {
        let at = (self.wall)();
        let mut life = lock(&self.life);
        let (cause, message) = life.exit.take().unwrap_or((cause, message));
        life.current = None;
        life.last_exit = Some(ExitView { cause, message: message.clone(), at });
        (cause, message)
    }

    pub(super) fn restarting(&self) {
        let mut life = lock(&self.life);
        life.restarts += 1;
        let cause = life.last_exit.as_ref().map_or(ExitCause::Clean, |exit| exit.cause);
        drop(life);
        self.counters.restarted(cause);
    }

    pub(super) fn restarts(&self) -> u32 {
        lock(&self.life).restarts
    }

    pub(super) fn rank(&self) -> u32 {
        self.order.load(Ordering::Relaxed)
    }
}

impl Life {
    fn state(&self) -> ActorState {
        match self.phase {
            Phase::Starting => ActorState::Starting,
            Phase::Up if self.current.is_some() || self.tasks > 0 => ActorState::Busy,
            Phase::Up => ActorState::Idle,
            Phase::Backoff => ActorState::Backoff,
            Phase::Stopping => ActorState::Stopping,
            Phase::Stopped => ActorState::Stopped,
            Phase::Failed => ActorState::Failed,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
