//! A whole installation on a paused clock: replicas of the engine over one
//! store, embedded buses and a scripted platform.
//!
//! Its end is an exam: a universe that is dropped with an actor still running,
//! a live lease, a running job or a delivery that nobody settled panics.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::fixtures::{Environment, OWNER_UID, replica_id, sync_request, team};
use super::line::Line;
use super::paced::PacedPlatform;
use super::platform::ScriptedPlatform;
use crate::domain::{Class, Event, EventNo, JobId, Mode, Scope, ScopeKey, TeamId};
use crate::embedded::limiter::Rates;
use crate::embedded::{
    EmbeddedClock, EmbeddedDueQueue, EmbeddedEventBus, EmbeddedJobBus, EmbeddedLimiter,
    EmbeddedLock, EmbeddedSignals, MemoryStore, SeededEntropy, StoreDefaults,
};
use crate::engine::{Engine, EngineHandle};
use crate::kit::{ActorId, TreeFailure};
use crate::parts::Ports;
use crate::ports::PortResult;
use crate::ports::clock::Clock as _;
use crate::ports::credentials::{Credentials as _, OnOtherAccount};
use crate::ports::outbox::Outbox as _;
use crate::ports::reads::{JobRow, Reads as _, ScopeStatus};
use crate::ports::signals::Signals as _;
use crate::ports::store::{Requested, SyncRequest};
use crate::ports::teams::{Rollout, Teams as _};
use crate::settings::Settings;

/// Time on the paused clock after which something that should have happened
/// is said not to have.
const PATIENCE: Duration = Duration::from_hours(6);
/// Longest time on the paused clock between two looks at a condition.
const LOOK: Duration = Duration::from_millis(100);

/// What every universe's clock says first.
pub const DAWN: OffsetDateTime = time::macros::datetime!(2026-11-20 12:00 UTC);

type Tune = Box<dyn Fn(&mut Settings) + Send>;

/// An installation. Its fields are its servers, to look at and to meddle with.
pub struct Universe {
    /// The store that every replica's line leads to.
    pub store: MemoryStore,
    /// The platform.
    pub platform: Arc<ScriptedPlatform>,
    /// The due queue.
    pub due_queue: Arc<EmbeddedDueQueue>,
    /// The hint lock.
    pub lock: Arc<EmbeddedLock>,
    /// Jobs.
    pub job_bus: EmbeddedJobBus,
    /// Events.
    pub event_bus: EmbeddedEventBus,
    /// Wake-ups.
    pub signals: EmbeddedSignals,
    /// Time.
    pub clock: EmbeddedClock,
    seed: u64,
    rates: Rates,
    tune: Tune,
    replicas: Vec<Replica>,
    teams: Vec<TeamId>,
    abandoned: bool,
}

struct Replica {
    line: Line,
    handle: EngineHandle,
    engine: Option<Engine>,
}

impl Universe {
    /// An empty installation; the same seed repeats itself. Without a rate
    /// limit, so that a test's times are its script's.
    pub fn new(seed: u64) -> Self {
        Self::with_store(seed, |store| store)
    }

    /// The same over a changed store, e.g. one without the guard.
    pub fn with_store(seed: u64, change: impl FnOnce(MemoryStore) -> MemoryStore) -> Self {
        let clock = EmbeddedClock::starting_at(DAWN);
        let entropy = Arc::new(SeededEntropy::new(seed));
        let store = MemoryStore::new(Arc::new(clock), entropy, StoreDefaults::default());
        Self {
            store: change(store),
            platform: Arc::default(),
            due_queue: Arc::default(),
            lock: Arc::default(),
            job_bus: EmbeddedJobBus::default(),
            event_bus: EmbeddedEventBus::default(),
            signals: EmbeddedSignals::default(),
            clock,
            seed,
            rates: Rates { platform: None, team: None, burst: NonZeroU32::MIN },
            tune: Box::new(|_| {}),
            replicas: Vec::new(),
            teams: Vec::new(),
            abandoned: false,
        }
    }

    /// Replicas started from now on run with changed settings.
    #[must_use]
    pub fn tuned(mut self, tune: impl Fn(&mut Settings) + Send + 'static) -> Self {
        self.tune = Box::new(tune);
        self
    }

    /// Replicas started from now on keep a rate limit.
    #[must_use]
    pub const fn limited(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// Adds a team whose account holds so many environments, each with so
    /// many nodes: it has a key, takes part, and all its scopes are due.
    pub async fn team(&mut self, id: i64, environments: u32, nodes: u32) -> TeamId {
        let new = team(id);
        self.platform.with_world(new.id, |world| {
            world.environments = (1..=environments).map(|n| Environment::new(n, nodes)).collect();
        });
        let everyone = Rollout { enabled: true, everyone: true, ..Rollout::default() };
        self.store.set_rollout(&everyone).await.unwrap();
        self.store.put(&new).await.unwrap();
        let key = SecretString::from(format!("key-of-{id}"));
        self.store.replace(new.id, key, OWNER_UID, OnOtherAccount::Refuse).await.unwrap();
        self.teams.push(new.id);
        new.id
    }

    /// Starts one more replica and answers its number, from 0.
    pub async fn start_replica(&mut self) -> usize {
        let number = self.replicas.len() as u64;
        let line = Line::new(self.store.clone(), Arc::clone(&self.lock));
        let limiter = Arc::new(EmbeddedLimiter::new(self.rates));
        let store = Arc::new(self.store.clone());
        let ports = Ports {
            store: Arc::new(line.clone()),
            due_queue: self.due_queue.clone(),
            lock: Arc::new(line.clone()),
            job_bus: Arc::new(self.job_bus.clone()),
            event_bus: Arc::new(self.event_bus.clone()),
            signals: Arc::new(self.signals.clone()),
            outbox: store.clone(),
            replicas: Arc::new(line.clone()),
            platforms: store.clone(),
            platform: Arc::new(PacedPlatform::new(self.platform.clone(), limiter.clone())),
            limiter,
            credentials: store.clone(),
            upkeep: store,
            clock: Arc::new(self.clock),
            entropy: Arc::new(SeededEntropy::new(self.seed.wrapping_mul(1000) + number + 1)),
        };
        let mut settings = Settings::new(replica_id(number + 1));
        settings.host = format!("host-{}", number + 1);
        (self.tune)(&mut settings);
        let engine = Engine::start(ports, settings).await.unwrap();
        self.replicas.push(Replica { line, handle: engine.handle(), engine: Some(engine) });
        number as usize
    }

    /// The way into a replica, also after its end.
    pub fn replica(&self, number: usize) -> &EngineHandle {
        &self.replicas[number].handle
    }

    /// A replica's line to store and lock.
    pub fn line(&self, number: usize) -> &Line {
        &self.replicas[number].line
    }

    /// The way into a replica that runs.
    pub fn handle(&self) -> &EngineHandle {
        let runs = self.replicas.iter().find(|replica| replica.engine.is_some());
        &runs.expect("a replica runs").handle
    }

    /// Resolves when a replica's tree could not be kept up.
    pub fn failed(&self, number: usize) -> impl Future<Output = TreeFailure> + Send + 'static {
        self.replicas[number].engine.as_ref().expect("the replica runs").failed()
    }

    /// Stops a replica the orderly way.
    pub async fn stop(&mut self, number: usize) {
        let engine = self.replicas[number].engine.take().expect("the replica runs");
        let report = engine.shutdown().await;
        assert!(report.overdue.is_empty(), "these did not stop: {:?}", report.overdue);
    }

    /// Ends a replica like a power cut: its line is dead, its actors end in
    /// the middle of what they do, and nothing is given back but deliveries.
    pub fn crash(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        replica.line.cut();
        replica.handle.roster().kill(&ActorId::root()).expect("the replica runs");
        replica.engine = None;
    }

    /// Asks for a full run as a person or a reader would; the job that will
    /// satisfy it.
    pub async fn trigger(&self, team: TeamId, scope: Scope, class: Class) -> JobId {
        let mut request = sync_request(ScopeKey::new(team, scope), class);
        request.mode = Some(Mode::Full);
        match self.request(&request).await {
            Requested::Accepted(jobs) => jobs[0].job_id,
            refused => panic!("the trigger was not taken: {refused:?}"),
        }
    }

    /// Hands in a request through a replica that runs.
    pub async fn request(&self, request: &SyncRequest) -> Requested {
        self.handle().trigger(request).await.unwrap()
    }

    /// Triggers a full run by hand and waits for its end.
    pub async fn sync(&self, team: TeamId, scope: Scope) -> JobRow {
        let job = self.trigger(team, scope, Class::Manual).await;
        self.ended(team, job).await
    }

    /// Waits until a job has ended, however.
    pub async fn ended(&self, team: TeamId, job: JobId) -> JobRow {
        self.until(&format!("job {job} ends"), || self.job(team, job).state.is_terminal()).await;
        self.job(team, job)
    }

    /// Waits until nothing is queued or running and every scope that may run
    /// has run.
    pub async fn settle(&self) {
        let quiet = |scope: &ScopeStatus| {
            scope.queued.is_none()
                && scope.running.is_none()
                && (scope.resting.is_some() || scope.last_success_at.is_some())
        };
        self.until("all is quiet", || self.scopes().iter().all(quiet)).await;
    }

    /// Waits until something happens: looks again at every wake-up, and at
    /// times in between.
    pub async fn until(&self, what: &str, mut happens: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut listener = self.signals.listen();
        while !happens() {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
            let _ = tokio::time::timeout(LOOK, listener.next()).await;
        }
    }

    /// Waits for a durable event of a team.
    pub async fn wait_for(&self, team: TeamId, is_it: impl Fn(&Event) -> bool) -> Event {
        let find = || self.events(team).into_iter().find(|event| is_it(event));
        self.until("the event is told", || find().is_some()).await;
        find().expect("it was there")
    }

    /// A team's durable events so far.
    pub fn events(&self, team: TeamId) -> Vec<Event> {
        now(self.store.after(&[(team, EventNo(0))], usize::MAX))
    }

    /// A job as it stands.
    pub fn job(&self, team: TeamId, job: JobId) -> JobRow {
        now(self.store.job(team, job)).expect("the job exists")
    }

    /// One (team, scope) as it stands.
    pub fn scope(&self, team: TeamId, scope: Scope) -> ScopeStatus {
        let scopes = now(self.store.scopes(team)).expect("the team exists");
        scopes.into_iter().find(|status| status.key.scope == scope).expect("the scope exists")
    }

    /// Every (team, scope) as it stands.
    pub fn scopes(&self) -> Vec<ScopeStatus> {
        let of = |team: &TeamId| now(self.store.scopes(*team)).unwrap_or_default();
        self.teams.iter().flat_map(of).collect()
    }

    /// The wall clock.
    pub fn wall(&self) -> OffsetDateTime {
        self.clock.wall()
    }

    /// Stops every replica that runs, and waits for deliveries on their way
    /// back to the bus.
    pub async fn shutdown(&mut self) {
        for number in (0..self.replicas.len()).rev() {
            if self.replicas[number].engine.is_some() {
                self.stop(number).await;
            }
        }
        self.until("deliveries are back", || self.job_bus.unsettled() == 0).await;
    }

    /// Gives the exam at the end up.
    pub const fn abandon(&mut self) {
        self.abandoned = true;
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let running = self.replicas.iter().filter(|replica| replica.engine.is_some()).count();
        if running > 0 {
            left.push(format!("{running} replicas were not shut down"));
        }
        for scope in self.scopes() {
            if scope.lease.is_some() {
                left.push(format!("{} has a live lease", scope.key));
            }
            if let Some(job) = scope.running {
                left.push(format!("job {} of {} is running", job.id, scope.key));
            }
        }
        let unsettled = self.job_bus.unsettled();
        if unsettled > 0 {
            left.push(format!("{unsettled} deliveries are not settled"));
        }
        left
    }
}

impl Drop for Universe {
    fn drop(&mut self) {
        if self.abandoned || std::thread::panicking() {
            return;
        }
        let left = self.leftovers();
        assert!(left.is_empty(), "the universe ended with leftovers: {left:?}");
    }
}

/// The in-memory store answers at once.
fn now<T>(answer: impl Future<Output = PortResult<T>>) -> T {
    answer.now_or_never().expect("the memory never waits").expect("and never fails")
}
