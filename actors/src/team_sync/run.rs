//! One attempt at a job: lease, lock, work, settle, ack.
//!
//! The order is the point. The lease is the real lock and comes first; the
//! hint lock saves others the attempt; the work ends in one fenced apply or
//! in a settlement; the delivery is acked last, after that is durable.

use std::fmt;
use std::time::Duration;

use tracing::{Instrument as _, error, info, info_span, warn};

use super::guard::{LOCK_TIMEOUT, RunGuard};
use super::keeper::{self, TrustEnd};
use super::order::Order;
use super::progress::{Show, Teller};
use super::stop::{StopWhy, Stopper};
use super::{archived_sites, delta, environments, job_logs};
use crate::domain::retry::{self, Action, Standing, Sustained};
use crate::domain::{Counts, Failure, FailureClass, Mode, PartialReason, RunId, Scope, ScopeKey};
use crate::parts::Parts;
use crate::ports::PortError;
use crate::ports::credentials::{Access, Resolved};
use crate::ports::job_bus::JobMessage;
use crate::ports::lock::Acquired;
use crate::ports::signals::Signal;
use crate::ports::store::{
    Applied, Apply, Ending, Lease, LeaseAnswer, LeaseAsk, Settled, Settlement,
};

/// Attempts to get an answer of the store before a delivery goes back.
const STORE_TRIES: u32 = 4;
/// Between two of them.
const STORE_PAUSE: Duration = Duration::from_secs(1);

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
    pub(super) teller: Teller,
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
        let Some(answer) = self.lease(&message, run).await else {
            // Nothing was decided: rest, then let the delivery come again.
            drop(Order::new(message, delivery, permit));
            return RunEnd::Undecided;
        };
        // A leased job makes room for the next one on the bus.
        signals.send(Signal::QueueMoved);
        let end = match answer {
            LeaseAnswer::Granted(lease) => self.run(*lease).await,
            LeaseAnswer::Busy { .. } => {
                info!(
                    event = "vz_sync_skip_locked",
                    team_id = message.key.team.0,
                    scope = message.key.scope.as_str(),
                    job_id = message.job.0,
                    "another run has the lease"
                );
                RunEnd::NotLeased("busy")
            }
            LeaseAnswer::NotQueued => RunEnd::NotLeased("not_queued"),
            LeaseAnswer::Fresh => RunEnd::NotLeased("fresh"),
            LeaseAnswer::Later { .. } => RunEnd::NotLeased("later"),
            LeaseAnswer::Resting(_) => RunEnd::NotLeased("resting"),
            LeaseAnswer::Exhausted { attempts } => {
                error!(
                    event = "vz_sync_job_failed",
                    team_id = message.key.team.0,
                    scope = message.key.scope.as_str(),
                    job_id = message.job.0,
                    attempt = attempts,
                    reason = "attempts_exhausted",
                    "job is dead"
                );
                RunEnd::GaveUp("attempts_exhausted".into())
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

    async fn lease(&self, message: &JobMessage, run: RunId) -> Option<LeaseAnswer> {
        let settings = &self.parts.settings;
        let ask = LeaseAsk {
            key: message.key,
            job: message.job,
            replica: settings.replica,
            run,
            ttl: settings.lease_ttl,
            dead_after: settings.dead_after,
            collision_delay: settings.collision_delay,
            max_attempts: settings.retry.max_attempts,
        };
        for attempt in 1..=STORE_TRIES {
            match self.parts.ports.store.lease(&ask).await {
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

    async fn run(self, lease: Lease) -> RunEnd {
        let Parts { ports, measured, .. } = &self.parts;
        let guard = RunGuard {
            store: ports.store.clone(),
            lock: ports.lock.clone(),
            signals: ports.signals.clone(),
            key: self.key,
            run: lease.name.run,
            armed: true,
        };
        if let Some(at) = lease.dispatched_at {
            measured.note_lease(Duration::try_from(lease.database_now - at).unwrap_or_default());
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
                settle(&self.parts, &lease, ending, sustained, end).await
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

/// What follows the work.
enum Stop {
    /// The apply ended the run, or it was overtaken.
    Worked(RunEnd),
    /// The job must be settled.
    Settle(Ending, Sustained, RunEnd),
}

/// Works until done, stopped, out of time or out of trust.
async fn supervise(parts: &Parts, lease: &Lease, teller: Teller, stopper: &Stopper) -> Stop {
    let span = info_span!(
        "vz.sync.run",
        team_id = lease.name.key.team.0,
        scope = lease.name.key.scope.as_str(),
        job_id = lease.name.job.0
    );
    let work = work(parts, lease, teller).instrument(span);
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
        end = keeper::keep(parts, lease) => {
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
            verdict(parts, lease, failure)
        }
        end = work => match end {
            Ok(end) => Stop::Worked(end),
            Err(error) => verdict(parts, lease, error.into_failure()),
        },
    }
}

async fn work(parts: &Parts, lease: &Lease, teller: Teller) -> Result<RunEnd, WorkError> {
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
    let run = Run { parts: parts.clone(), lease: lease.clone(), access, teller };
    let apply = match (lease.name.key.scope, lease.mode) {
        (Scope::Environments, Mode::Full) => environments::full(&run).await?,
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
                    let key = run.lease.name.key;
                    warn!(
                        event = "vz_sync_removals_held",
                        team_id = key.team.0,
                        scope = key.scope.as_str(),
                        job_id = run.lease.name.job.0,
                        hold_id = hold.0,
                        "a removal set waits for a decision"
                    );
                }
                if let Some(doubt) = &apply.doubt {
                    wake_after(&run.parts, doubt.wait);
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
    let (lease, counts) = (&run.lease, apply.counts);
    info!(
        event = "vz_sync_job_completed",
        team_id = lease.name.key.team.0,
        scope = lease.name.key.scope.as_str(),
        job_id = lease.name.job.0,
        fence = lease.name.fence.0,
        mode = apply.mode.as_str(),
        event_no = event,
        listed = counts.listed,
        inserted = counts.inserted,
        updated = counts.updated,
        unchanged = counts.unchanged,
        missing = counts.missing,
        stale = counts.stale,
        held = counts.held,
        quarantined = counts.quarantined,
        elapsed_ms = lease.asked_at.elapsed().as_millis() as u64,
        "run committed"
    );
    match &apply.completeness {
        crate::domain::Completeness::Complete => RunEnd::Committed(counts),
        crate::domain::Completeness::Partial(reason) => RunEnd::Partial(reason.clone()),
    }
}

/// What a failure means for job and state.
fn verdict(parts: &Parts, lease: &Lease, failure: Failure) -> Stop {
    let standing = Standing {
        attempt: lease.attempt,
        failures: lease.failures,
        failing_since: lease.failing_since,
        now: lease.database_now + lease.asked_at.elapsed(),
        random: parts.ports.entropy.fraction(),
    };
    let verdict = retry::after_failure(&parts.settings.retry, &failure, &standing);
    tell_failure(lease, &failure, verdict.action);
    let code = failure.code.clone();
    let (ending, end) = match verdict.action {
        Action::Retry { wait } => (Ending::Retry { failure, wait }, RunEnd::Retried(code)),
        Action::Postpone { reason, wait } => {
            (Ending::Postponed { reason, wait }, RunEnd::Postponed(code))
        }
        Action::GiveUp { state, wait } => {
            (Ending::GaveUp { failure, state, wait }, RunEnd::GaveUp(code))
        }
        Action::RefuseKey { probe_in } => {
            (Ending::AuthRefused { failure, probe_in }, RunEnd::GaveUp(code))
        }
    };
    Stop::Settle(ending, verdict.sustained, end)
}

fn tell_failure(lease: &Lease, failure: &Failure, action: Action) {
    let (team_id, scope) = (lease.name.key.team.0, lease.name.key.scope.as_str());
    let (job_id, attempt) = (lease.name.job.0, lease.attempt);
    let (reason, error_class) = (failure.code.as_str(), failure.class.as_str());
    match action {
        Action::Retry { wait } | Action::Postpone { wait, .. } => {
            let wait_ms = wait.as_millis() as u64;
            warn!(event = "vz_sync_retry", team_id, scope, job_id, attempt, reason, error_class, wait_ms, error = %failure.message, "run failed, trying again");
        }
        Action::GiveUp { state, .. } => {
            error!(event = "vz_sync_job_failed", team_id, scope, job_id, attempt, reason, error_class, state = state.as_str(), error = %failure.message, "job gave up");
        }
        Action::RefuseKey { .. } => {
            error!(event = "vz_sync_job_failed", team_id, scope, job_id, attempt, reason, error_class, error = %failure.message, "the platform refuses the team's key");
        }
    }
}

/// Settles, several times if need be; `false` when the guard must release.
async fn settle(
    parts: &Parts,
    lease: &Lease,
    ending: Ending,
    sustained: Sustained,
    end: RunEnd,
) -> (bool, RunEnd) {
    let settlement = Settlement { lease: lease.name, ending, sustained };
    for _ in 0..STORE_TRIES {
        match parts.ports.store.settle(&settlement).await {
            Ok(Settled::Done { .. }) => {
                if let Ending::Retry { wait, .. } | Ending::Postponed { wait, .. } =
                    settlement.ending
                {
                    wake_after(parts, wait);
                }
                return (true, end);
            }
            Ok(Settled::Overtaken) => return (true, RunEnd::Overtaken),
            Err(error) => {
                warn!(event = "vz_sync_settle_failed", team_id = lease.name.key.team.0, scope = lease.name.key.scope.as_str(), job_id = lease.name.job.0, error = %error, "settlement not taken");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
    (false, RunEnd::Undecided)
}

/// A wait that ends before the scheduler's next poll would be stretched to it,
/// so the scheduler is nudged then. A nudge that is lost is made up for by the
/// poll.
fn wake_after(parts: &Parts, wait: Duration) {
    if wait >= parts.settings.poll {
        return;
    }
    let signals = parts.ports.signals.clone();
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        signals.send(Signal::StatesDue);
    });
}
