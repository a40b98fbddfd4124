//! All that the actors share: the ports, the settings and a few measured
//! values. Made once by whoever starts the engine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::catch_up::ServiceTime;
use crate::domain::event::Progress;
use crate::domain::{ScopeKey, TeamId};
use crate::membership::Membership;
use crate::ports::clock::Clock;
use crate::ports::credentials::Credentials;
use crate::ports::due_queue::DueQueue;
use crate::ports::entropy::Entropy;
use crate::ports::event_bus::EventBus;
use crate::ports::job_bus::JobBus;
use crate::ports::limiter::Limiter;
use crate::ports::lock::Lock;
use crate::ports::outbox::Outbox;
use crate::ports::platform::Platform;
use crate::ports::platforms::{PlatformGate, Platforms};
use crate::ports::replicas::{Fleet, Replicas};
use crate::ports::signals::Signals;
use crate::ports::store::Store;
use crate::ports::upkeep::Upkeep;
use crate::settings::Settings;

/// The doors the engine goes through.
#[derive(Clone)]
pub struct Ports {
    /// States, jobs, leases, applies.
    pub store: Arc<dyn Store>,
    /// Due scopes.
    pub due_queue: Arc<dyn DueQueue>,
    /// The hint lock.
    pub lock: Arc<dyn Lock>,
    /// Jobs to workers.
    pub job_bus: Arc<dyn JobBus>,
    /// Events to everybody.
    pub event_bus: Arc<dyn EventBus>,
    /// Wake-ups.
    pub signals: Arc<dyn Signals>,
    /// Durable events.
    pub outbox: Arc<dyn Outbox>,
    /// Who is alive.
    pub replicas: Arc<dyn Replicas>,
    /// Circuits and throttling.
    pub platforms: Arc<dyn Platforms>,
    /// The rate limit.
    pub limiter: Arc<dyn Limiter>,
    /// The platform itself.
    pub platform: Arc<dyn Platform>,
    /// Session keys.
    pub credentials: Arc<dyn Credentials>,
    /// Chores.
    pub upkeep: Arc<dyn Upkeep>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// What every actor gets.
#[derive(Clone)]
pub struct Parts {
    /// The doors.
    pub ports: Ports,
    /// The settings.
    pub settings: Arc<Settings>,
    /// What the engine has measured.
    pub measured: Arc<Measured>,
}

impl Parts {
    /// Bundles ports and settings.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        Self { ports, settings: Arc::new(settings), measured: Arc::default() }
    }
}

/// How long the progress of a run that is not heard of is kept.
const PROGRESS_KEPT: Duration = Duration::from_secs(300);

/// What the leases of this replica tell of its pace.
#[derive(Debug, Default)]
struct Leases {
    last_at: Option<Instant>,
    time: ServiceTime,
}

/// Measured values that one actor writes and others read.
#[derive(Debug)]
pub struct Measured {
    queue_wait_ms: AtomicU64,
    leases: Mutex<Leases>,
    membership: Mutex<Option<Membership>>,
    may_ask: watch::Sender<bool>,
    gates: watch::Sender<Arc<[PlatformGate]>>,
    progress: Mutex<Board>,
}

/// How far runs are, and when each was last heard of.
#[derive(Debug, Default)]
struct Board {
    runs: HashMap<ScopeKey, (Progress, Instant)>,
    /// When those not heard of any more are looked for next.
    tidy_at: Option<Instant>,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            queue_wait_ms: AtomicU64::new(0),
            leases: Mutex::default(),
            membership: Mutex::default(),
            may_ask: watch::Sender::new(false),
            gates: watch::Sender::new(Arc::from([])),
            progress: Mutex::default(),
        }
    }
}

impl Measured {
    /// Notes a lease whose job waited so long since its dispatch. A moving
    /// average over about eight jobs: one odd wait does not move it far.
    pub fn note_lease(&self, waited: Duration) {
        let new = waited.as_millis().min(u128::from(u64::MAX)) as u64;
        let _ = self.queue_wait_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            Some(old - old / 8 + new / 8)
        });
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(last) = leases.last_at.replace(now) {
            leases.time.note(now - last, waited);
        }
    }

    /// Leases per second that this replica is able to take; `None` until two
    /// were taken.
    pub fn lease_rate(&self) -> Option<f64> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).time.rate()
    }

    /// The average wait between dispatch and lease.
    pub fn queue_wait(&self) -> Duration {
        Duration::from_millis(self.queue_wait_ms.load(Ordering::Relaxed))
    }

    /// Notes what a heartbeat told. Kept here and not in the actor that
    /// beats: its restart must not make the replica a newcomer.
    pub fn set_membership(&self, membership: Membership) {
        *self.membership.lock().unwrap_or_else(PoisonError::into_inner) = Some(membership);
    }

    /// The place in the fleet, once the first heartbeat was written.
    pub fn membership(&self) -> Option<Membership> {
        *self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes whether this replica has a share of the request limits.
    pub fn set_may_ask(&self, may: bool) {
        self.may_ask.send_if_modified(|old| std::mem::replace(old, may) != may);
    }

    /// Resolves while this replica has a share of the request limits (`true`),
    /// or has none (`false`).
    pub async fn asking(&self, may: bool) {
        // The sender is ours, so waiting cannot fail.
        let _ = self.may_ask.subscribe().wait_for(|now| *now == may).await;
    }

    /// Who is alive, once the first heartbeat was written.
    pub fn fleet(&self) -> Option<Fleet> {
        self.membership().map(|membership| membership.fleet)
    }

    /// Publishes the gates of all platforms.
    pub fn set_gates(&self, gates: Vec<PlatformGate>) {
        self.gates.send_replace(gates.into());
    }

    /// Notes how far a run of any replica is.
    pub fn note_progress(&self, team: TeamId, progress: Progress) {
        let mut board = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Not each time: with thousands of runs a minute the board is long.
        if board.tidy_at.is_none_or(|at| at <= now) {
            board.tidy_at = Some(now + PROGRESS_KEPT);
            board.runs.retain(|_, (_, at)| now - *at < PROGRESS_KEPT);
        }
        board.runs.insert(ScopeKey::new(team, progress.scope), (progress, now));
    }

    /// How far the run of a scope was when it was last heard of. Meaningful
    /// only together with the running job that the store names.
    pub fn progress(&self, key: ScopeKey) -> Option<Progress> {
        let board = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        board.runs.get(&key).map(|(progress, _)| progress.clone())
    }

    /// Tells whoever keeps a view of its own that the gates were read anew.
    pub fn watch_gates(&self) -> watch::Receiver<Arc<[PlatformGate]>> {
        self.gates.subscribe()
    }

    /// The gates as last read; at most about a second old.
    pub fn gates(&self) -> Arc<[PlatformGate]> {
        self.gates.borrow().clone()
    }
}
