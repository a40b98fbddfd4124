//! What the engine can be told to do differently, in one place and with the
//! defaults of SPEC sections 2 to 5.

use std::time::Duration;

use crate::domain::ReplicaId;
use crate::domain::cadence::JITTER;
use crate::domain::fairness::Permits;
use crate::domain::removal::RemovalRules;
use crate::domain::retry::RetryRules;
use crate::domain::worth::DeltaRules;
use crate::kit::RestartPolicy;
use crate::ports::upkeep::Retention;

/// Settings of one engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This boot of this process.
    pub replica: ReplicaId,
    /// Host name, for people.
    pub host: String,
    /// Version of the binary.
    pub version: String,
    /// Between two looks of the scheduler that nobody asked for.
    pub poll: Duration,
    /// States claimed at once, and the most that may wait in one lane of the
    /// due queue unless somebody asked for them.
    pub claim_batch: u32,
    /// Jitter on the time after a success, as a share of the interval either
    /// way.
    pub jitter: f64,
    /// Least time before a dispatched state that was not leased is runnable
    /// again; twice the measured queue wait when that is longer.
    pub redispatch: Duration,
    /// Between two looks of the dispatcher that nobody asked for.
    pub dispatch_poll: Duration,
    /// How long a popped entry stays in flight before it is put back.
    pub in_flight: Duration,
    /// Deadline of one publish with its confirm.
    pub publish_timeout: Duration,
    /// Publishes under way at once, each on a channel of its own.
    pub publishers: usize,
    /// Runs at once on this replica and of one team.
    pub permits: Permits,
    /// How long a lease and its lock last unless renewed (every third of it).
    pub lease_ttl: Duration,
    /// Trust in a lease ends this long before the lease does.
    pub lease_margin: Duration,
    /// A run that takes longer is stopped.
    pub run_timeout: Duration,
    /// How long a state waits that met a live lease.
    pub collision_delay: Duration,
    /// Backoff, attempts and the limits of patience.
    pub retry: RetryRules,
    /// Heartbeat of this replica.
    pub heartbeat: Duration,
    /// Between two readings of the platforms' gates.
    pub gates_every: Duration,
    /// A heartbeat older than this marks its replica dead.
    pub dead_after: Duration,
    /// A new replica waits this long before it uses its share of the request
    /// limits, and one whose own heartbeat is this old stops using it. One
    /// number, since each half relies on the other; less than `dead_after`.
    pub join_wait: Duration,
    /// Changed rows from which a run stages instead of holding them.
    pub stage_from: usize,
    /// Rows of one staging call.
    pub stage_batch: usize,
    /// Staging calls under way at once.
    pub stage_parallel: usize,
    /// When a delta is worth its requests, and what it may leave out.
    pub delta: DeltaRules,
    /// Overlap of two readings of the action history.
    pub history_overlap: Duration,
    /// How far back a full reading of the action history goes.
    pub history_window: Duration,
    /// Actions of one page.
    pub history_page: u32,
    /// Archived sites probed in one run.
    pub archive_probes: u32,
    /// Consecutive connection-level failures that open a circuit.
    pub circuit_threshold: u32,
    /// How long a circuit stays open before it is probed.
    pub circuit_open_for: Duration,
    /// Thresholds of the removal guard.
    pub removal: RemovalRules,
    /// Between two chores of the janitor.
    pub janitor_every: Duration,
    /// Rows of one chore's batch.
    pub janitor_batch: u32,
    /// What is kept for how long.
    pub retention: Retention,
    /// Between two looks of the broadcaster that nobody asked for.
    pub outbox_poll: Duration,
    /// How long the relay lease lasts unless renewed.
    pub relay_lease: Duration,
    /// Events that one subscriber may lag behind before it is cut off.
    pub subscriber_buffer: usize,
    /// Messages that wait at one actor before it refuses.
    pub mailbox_bound: usize,
    /// How actors are restarted.
    pub restart: RestartPolicy,
    /// An idle team-sync actor is stopped after this long.
    pub passivate_after: Duration,
    /// Team-sync actors alive at once.
    pub max_live: usize,
    /// How long a stopping replica waits for its runs to hand back.
    pub stop_timeout: Duration,
}

impl Settings {
    /// The defaults for a replica.
    pub fn new(replica: ReplicaId) -> Self {
        let secs = Duration::from_secs;
        Self {
            replica,
            host: "localhost".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            poll: secs(30),
            claim_batch: 1000,
            jitter: JITTER,
            redispatch: secs(60),
            dispatch_poll: secs(1),
            in_flight: secs(15),
            publish_timeout: secs(5),
            publishers: 4,
            permits: Permits::default(),
            lease_ttl: secs(180),
            lease_margin: secs(15),
            run_timeout: secs(150),
            collision_delay: secs(30),
            retry: RetryRules::default(),
            heartbeat: secs(5),
            gates_every: secs(1),
            dead_after: secs(15),
            join_wait: secs(10),
            stage_from: 2000,
            stage_batch: 1000,
            stage_parallel: 3,
            delta: DeltaRules::default(),
            history_overlap: secs(120),
            history_window: secs(90 * 24 * 3600),
            history_page: 500,
            archive_probes: 50,
            circuit_threshold: 5,
            circuit_open_for: secs(30),
            removal: RemovalRules::default(),
            janitor_every: secs(600),
            janitor_batch: 5000,
            retention: Retention::default(),
            outbox_poll: secs(1),
            relay_lease: secs(10),
            subscriber_buffer: 256,
            mailbox_bound: 1024,
            restart: RestartPolicy::default(),
            passivate_after: secs(600),
            max_live: 2000,
            stop_timeout: secs(25),
        }
    }
}
