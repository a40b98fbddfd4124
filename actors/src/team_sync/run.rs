//! One attempt at a job: lease, lock, work, settle, ack.
//!
//! The order is the point. The lease is the real lock and comes first; the
//! hint lock saves others the attempt; the work ends in one fenced apply or
//! in a settlement; the delivery is acked last, after that is durable.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tracing::{Instrument as _, info, info_span, warn};

use super::guard::{LOCK_TIMEOUT, RunGuard};
use super::keeper::{self, TrustEnd};
use super::order::Order;
use super::progress::{Show, Teller};
use super::settling::{self, Stop};
use super::stop::{StopWhy, Stopper};
use super::{archived_sites, delta, environments, job_logs, tell};
use crate::domain::retry::Sustained;
use crate::domain::{Counts, Failure, FailureClass, Mode, PartialReason, RunId, Scope, ScopeKey};
use crate::parts::Parts;
use crate::ports::PortError;
use crate::ports::credentials::{Access, Resolved};
use crate::ports::job_bus::JobMessage;
use crate::ports::lock::Acquired;
use crate::ports::signals::Signal;
use crate::ports::store::{Applied, Apply, Ending, Lease, LeaseAnswer, LeaseAsk};

/// Attempts to get an answer of the store before a delivery goes back.
pub(super) const STORE_TRIES: u32 = 4;
/// Between two of them.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How an attempt ended, for operators and tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Data was committed.
    Committed(Counts),
    /// Data of a partial listing was committed; the scope is tried again.
    Partial(PartialReason),
    /// Queued again with backoff.
    Retried(String),
    /// Queued again without blame.
    Postponed(String),
    /// Ended for good.
    GaveUp(String),
    /// An operator stopped it.
    Cancelled,
    /// Left to another replica.
    HandedBack,
    /// Another run had taken the scope: nothing was written.
    Overtaken,
    /// There was nothing to lease.
    NotLeased(&'static str),
    /// The store gave no answer: the delivery went back.
    Undecided,
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed(_) => f.write_str("committed"),
            Self::Partial(reason) => write!(f, "partial: {reason}"),
            Self::Retried(code) => write!(f, "retried: {code}"),
            Self::Postponed(code) => write!(f, "postponed: {code}"),
            Self::GaveUp(code) => write!(f, "gave up: {code}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::HandedBack => f.write_str("handed back"),
            Self::Overtaken => f.write_str("overtaken"),
            Self::NotLeased(why) => write!(f, "not leased: {why}"),
            Self::Undecided => f.write_str("undecided"),
        }
    }
}

/// Why the work of a run brought no commit.
#[derive(Debug)]
pub(super) enum WorkError {
    /// The platform or our own reading of it.
    Failed(Failure),
    /// The store.
    Port(PortError),
}

impl From<Failure> for WorkError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<PortError> for WorkError {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl WorkError {
    fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Port(error) if error.is_transient() => {
                Failure::new(FailureClass::Retryable, "store_unavailable", error.to_string())
            }
            Self::Port(error) => Failure::internal("store_refused", error.to_string()),
        }
    }
}

/// What the scopes' modules work with.
pub(super) struct Run {
    pub(super) parts: Parts,
    pub(super) lease: Lease,
    pub(super) access: Access,
    pub(super) teller: Arc<Teller>,
    /// Whether the platform was asked for anything yet; see `patience`.
    pub(super) begun: AtomicBool,
}

/// One attempt that was not begun yet.
pub(super) struct Attempt {
    parts: Parts,
    key: ScopeKey,
    stopper: Stopper,
    show: Show,
}

impl Attempt {
    pub(super) fn new(parts: Parts, key: ScopeKey, stopper: Stopper, show: Show) -> Self {
        Self { parts, key, stopper, show }
    }

    /// Leases and runs the job, settles it, and acks the delivery last.
    pub(super) async fn execute(self, order: Order) -> RunEnd {
        let Some((message, delivery, permit)) = order.take() else { return RunEnd::Undecided };
        let signals = self.parts.ports.signals.clone();
        let run = RunId(self.parts.ports.entropy.uuid());
        let mut guard = RunGuard::new(&self.parts, self.key, run);
        let Some(answer) = self.lease(&message, run, &mut guard).await else {
            // Nothing was decided: rest, then let the delivery come again.
            drop(Order::new(message, delivery, permit));
            return RunEnd::Undecided;
        };
        // A leased job makes room for the next one on the bus.
        signals.send(Signal::QueueMoved);
        let end = match answer {
            LeaseAnswer::Granted(lease) => self.run(*lease, guard).await,
            other => {
                guard.disarm();
                settling::not_leased(&message, &other)
            }
        };
        if let Err(error) = delivery.ack().await {
            // It comes again and finds its job no longer queued.
            warn!(event = "vz_sync_ack_failed", team_id = message.key.team.0, scope = message.key.scope.as_str(), job_id = message.job.0, error = %error, "ack was not taken");
        }
        drop(permit);
        signals.send(Signal::StatesDue);
        // Subscribers need not wait for the broadcaster's next poll.
        signals.send(Signal::Outbox(message.key.team));
        end
    }

    async fn lease(
        &self,
        message: &JobMessage,
        run: RunId,
        guard: &mut RunGuard,
    ) -> Option<LeaseAnswer> {
        let settings = &self.parts.settings;
        let ask = LeaseAsk {
            key: message.key,
            job: message.job,
            replica: settings.replica,
            run,
            ttl: settings.lease_ttl,
            dead_after: settings.dead_after,
            collision_delay: settings.collision_delay,
            retry: settings.retry,
        };
        for attempt in 1..=STORE_TRIES {
            match guard.lease(ask.clone()).await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    warn!(event = "vz_sync_lease_failed", team_id = self.key.team.0, scope = self.key.scope.as_str(), attempt, error = %error, "no answer to the lease");
                    // An unknown outcome may have leased to this very run:
                    // released, the job is queued again for the next try.
                    if matches!(error, PortError::OutcomeUnknown { .. }) {
                        let _ = self.parts.ports.store.release(run).await;
                    }
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
        None
    }

    async fn run(self, lease: Lease, guard: RunGuard) -> RunEnd {
        if let Some(at) = lease.dispatched_at {
            let waited = Duration::try_from(lease.database_now - at).unwrap_or_default();
            self.parts.measured.note_queue_wait(waited);
        }
        self.take_lock(&lease).await;
        info!(
            event = "vz_sync_job_started",
            team_id = self.key.team.0,
            scope = self.key.scope.as_str(),
            job_id = lease.name.job.0,
            fence = lease.name.fence.0,
            mode = lease.mode.as_str(),
            class = lease.class.as_str(),
            attempt = lease.attempt,
            "run began"
        );
        let teller = Teller::begin(&self.parts, &lease, self.show).await;
        let end = supervise(&self.parts, &lease, teller, &self.stopper).await;
        let (settled, end) = match end {
            Stop::Worked(end) => (true, end),
            Stop::Settle(ending, sustained, end) => {
                settling::settle(&self.parts, &lease, ending, sustained, end).await
            }
        };
        if settled {
            guard.settled().await;
        }
        end
    }

    /// Takes the hint lock. Whoever else holds it has no live lease, or this
    /// run would not have been granted one.
    async fn take_lock(&self, lease: &Lease) {
        let (lock, ttl) = (&self.parts.ports.lock, self.parts.settings.lease_ttl);
        let run = lease.name.run;
        let take = async {
            if let Ok(Acquired::HeldBy(holder)) = lock.acquire(self.key, run, ttl).await {
                let _ = lock.take_over(self.key, holder.owner, run, ttl).await;
            }
        };
        if tokio::time::timeout(LOCK_TIMEOUT, take).await.is_err() {
            warn!(
                event = "vz_sync_lock_unavailable",
                team_id = self.key.team.0,
                scope = self.key.scope.as_str(),
                "going on without the hint lock"
            );
        }
    }
}

/// Works until done, stopped, out of time or out of trust.
async fn supervise(parts: &Parts, lease: &Lease, teller: Teller, stopper: &Stopper) -> Stop {
    let teller = Arc::new(teller);
    let span = info_span!(
        "vz.sync.run",
        team_id = lease.name.key.team.0,
        scope = lease.name.key.scope.as_str(),
        job_id = lease.name.job.0
    );
    let work = work(parts, lease, teller.clone()).instrument(span);
    tokio::select! {
        biased;
        why = stopper.stopped() => match why {
            StopWhy::Cancelled(by) => {
                Stop::Settle(Ending::Cancelled { by }, Sustained::No, RunEnd::Cancelled)
            }
            StopWhy::HandBack => {
                Stop::Settle(Ending::HandedBack, Sustained::No, RunEnd::HandedBack)
            }
        },
        end = keeper::keep(parts, lease, stopper) => {
            let why = match end { TrustEnd::Lost => "lost", TrustEnd::RanOut => "ran_out" };
            warn!(event = "vz_sync_lease_lost", team_id = lease.name.key.team.0, scope = lease.name.key.scope.as_str(), job_id = lease.name.job.0, reason = why, "run stopped itself");
            // Its job is queued again by whoever frees the lease; until then
            // releasing by run id is harmless.
            let _ = parts.ports.store.release(lease.name.run).await;
            Stop::Worked(RunEnd::Overtaken)
        }
        () = tokio::time::sleep(parts.settings.run_timeout) => {
            let failure = Failure::new(
                FailureClass::Retryable,
                "run_timeout",
                format!("the run took longer than {:?}", parts.settings.run_timeout),
            );
            settling::verdict(parts, lease, failure)
        }
        never = teller.keep_up() => match never {},
        end = work => match end {
            Ok(end) => Stop::Worked(end),
            Err(error) => settling::verdict(parts, lease, error.into_failure()),
        },
    }
}

async fn work(parts: &Parts, lease: &Lease, teller: Arc<Teller>) -> Result<RunEnd, WorkError> {
    let team = lease.name.key.team;
    let access = match parts.ports.credentials.resolve(team).await? {
        Resolved::Access(access) => access,
        Resolved::None => {
            let message = format!("team {team} has no session key");
            return Err(Failure::new(FailureClass::Auth, "no_credentials", message).into());
        }
        Resolved::Unreadable(message) => {
            return Err(Failure::new(FailureClass::Auth, "credential_unreadable", message).into());
        }
    };
    let (parts, lease, begun) = (parts.clone(), lease.clone(), AtomicBool::new(false));
    let run = Run { parts, lease, access, teller, begun };
    let apply = match (run.lease.name.key.scope, run.lease.mode) {
        (Scope::Environments, Mode::Full) => {
            environments::full(&run, run.lease.refused.clone()).await?
        }
        (Scope::Environments, Mode::Delta) => delta::delta(&run).await?,
        (Scope::JobLogs, _) => job_logs::read(&run).await?,
        (Scope::ArchivedSites, _) => archived_sites::annotate(&run).await?,
    };
    commit(&run, apply).await
}

/// Applies, and finds out what became of a COMMIT whose answer was lost.
async fn commit(run: &Run, apply: Apply) -> Result<RunEnd, WorkError> {
    let store = &run.parts.ports.store;
    let mut tries = 0;
    loop {
        tries += 1;
        match store.apply(&apply).await {
            Ok(Applied::Committed { event, held, .. }) => {
                for hold in held {
                    tell::held(&run.lease, hold);
                }
                if let Some(doubt) = &apply.doubt {
                    settling::wake_after(&run.parts, doubt.wait);
                    settling::tell_sustained(&run.lease, &doubt.failure, doubt.sustained);
                }
                return Ok(committed(run, &apply, Some(event.0)));
            }
            Ok(Applied::Overtaken) => return Ok(RunEnd::Overtaken),
            Err(PortError::OutcomeUnknown { .. }) if tries <= STORE_TRIES => {
                tokio::time::sleep(STORE_PAUSE).await;
                if store.committed(&run.lease.name).await? {
                    return Ok(committed(run, &apply, None));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn committed(run: &Run, apply: &Apply, event: Option<i64>) -> RunEnd {
    tell::committed(&run.lease, apply, event);
    match &apply.completeness {
        crate::domain::Completeness::Complete => RunEnd::Committed(apply.counts),
        crate::domain::Completeness::Partial(reason) => RunEnd::Partial(reason.clone()),
    }
}
