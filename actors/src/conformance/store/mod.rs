//! The exams of the store-side ports. They share one subject, since what one
//! port writes another reads.

mod account;
mod people;

pub mod outbox;
pub mod platforms;
pub mod reads;
pub mod replicas;
pub mod store_apply;
pub mod store_claim;
pub mod store_holds;
pub mod store_lease;
pub mod store_request;
pub mod store_settle;
pub mod upkeep;

pub use people::{credentials, teams};

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::Pace;
use crate::domain::retry::Sustained;
use crate::domain::{
    Class, Completeness, Counts, DataType, Event, EventNo, JobId, JobState, Mode, ScopeKey, TeamId,
};
use crate::ports::credentials::{Credentials, OnOtherAccount};
use crate::ports::due_queue::DueEntry;
use crate::ports::outbox::Outbox;
use crate::ports::platforms::Platforms;
use crate::ports::reads::{JobRow, Reads, ScopeStatus};
use crate::ports::replicas::Replicas;
use crate::ports::store::{
    Applied, Apply, DueTimes, Ending, Lease, LeaseAnswer, LeaseAsk, Requested, RequestedJob,
    Settlement, Store, TableApply, Upserts,
};
use crate::ports::teams::{Rollout, Teams};
use crate::ports::upkeep::Upkeep;
use crate::testkit::fixtures::{
    DEAD_AFTER, Environment, OWNER_UID, REDISPATCH, insert, lease_ask, replica, sync_request, team,
};

/// An empty store behind all of its ports.
pub struct StoreSubject {
    /// The pipeline's door.
    pub store: Arc<dyn Store>,
    /// The API's door.
    pub reads: Arc<dyn Reads>,
    /// Who is alive.
    pub replicas: Arc<dyn Replicas>,
    /// The gates.
    pub platforms: Arc<dyn Platforms>,
    /// The events.
    pub outbox: Arc<dyn Outbox>,
    /// Housekeeping.
    pub upkeep: Arc<dyn Upkeep>,
    /// Who is mirrored.
    pub teams: Arc<dyn Teams>,
    /// Their keys.
    pub credentials: Arc<dyn Credentials>,
    /// The store's time.
    pub pace: Arc<dyn Pace>,
}

impl StoreSubject {
    /// Lets everybody take part, and these teams have keys.
    pub(crate) async fn with_teams(&self, teams: &[i64]) {
        let everyone = Rollout { enabled: true, everyone: true, ..Rollout::default() };
        self.teams.set_rollout(&everyone).await.unwrap();
        for id in teams {
            self.teams.put(&team(*id)).await.unwrap();
            let key = SecretString::from(format!("key-of-{id}"));
            let refuse = OnOtherAccount::Refuse;
            self.credentials.replace(TeamId(*id), key, OWNER_UID, refuse).await.unwrap();
        }
        self.beat(1).await;
    }

    /// The n-th replica is alive.
    pub(crate) async fn beat(&self, n: u64) {
        self.replicas.heartbeat(&replica(n), DEAD_AFTER).await.unwrap();
    }

    pub(crate) async fn claim(&self) -> Vec<DueEntry> {
        self.store.claim(1000, REDISPATCH).await.unwrap()
    }

    pub(crate) async fn claims(&self, key: ScopeKey) -> Option<DueEntry> {
        self.claim().await.into_iter().find(|entry| entry.key == key)
    }

    pub(crate) async fn scope(&self, key: ScopeKey) -> ScopeStatus {
        let scopes = self.reads.scopes(key.team).await.unwrap().expect("the team exists");
        scopes.into_iter().find(|scope| scope.key == key).expect("the scope exists")
    }

    pub(crate) async fn job(&self, key: ScopeKey, job: JobId) -> JobRow {
        self.reads.job(key.team, job).await.unwrap().expect("the job exists")
    }

    pub(crate) async fn state_of(&self, key: ScopeKey, job: JobId) -> JobState {
        self.job(key, job).await.state
    }

    /// The scope's queued job, claimed if it is runnable.
    pub(crate) async fn queued(&self, key: ScopeKey) -> JobId {
        self.claim().await;
        self.scope(key).await.queued.expect("a job is queued").id
    }

    pub(crate) async fn ask(&self, ask: &LeaseAsk) -> LeaseAnswer {
        self.store.lease(ask).await.unwrap()
    }

    /// Leases the scope as the n-th run, on a replica that is alive.
    pub(crate) async fn lease(&self, key: ScopeKey, run: u64) -> Lease {
        self.beat(1).await;
        let job = self.queued(key).await;
        match self.ask(&lease_ask(key, job, run)).await {
            LeaseAnswer::Granted(lease) => *lease,
            other => panic!("{key} was not leased: {other:?}"),
        }
    }

    pub(crate) async fn request(&self, key: ScopeKey, class: Class) -> RequestedJob {
        match self.store.request(&sync_request(key, class)).await.unwrap() {
            Requested::Accepted(jobs) => jobs[0],
            other => panic!("the request for {key} was not taken: {other:?}"),
        }
    }

    pub(crate) async fn apply(&self, apply: &Apply) -> EventNo {
        match self.store.apply(apply).await.unwrap() {
            Applied::Committed { event, .. } => event,
            Applied::Overtaken => panic!("the commit was overtaken"),
        }
    }

    /// A first load of these environments, committed as the n-th run.
    pub(crate) async fn load(&self, key: ScopeKey, run: u64, environments: &[Environment]) {
        let lease = self.lease(key, run).await;
        self.apply(&listing(&lease, environments)).await;
    }

    /// Makes the scope due again and leases it as the n-th run.
    pub(crate) async fn lease_again(&self, key: ScopeKey, run: u64) -> Lease {
        self.pace.pass(Duration::from_hours(2)).await;
        self.lease(key, run).await
    }

    pub(crate) async fn events(&self, team: TeamId) -> Vec<Event> {
        self.outbox.after(&[(team, EventNo(0))], 10_000).await.unwrap()
    }

    /// The kinds of a team's events that name this job's end.
    pub(crate) async fn ends_of(&self, team: TeamId, job: JobId) -> Vec<&'static str> {
        use crate::domain::EventBody;
        let ends = |event: &Event| match &event.body {
            EventBody::Completed(done) if done.job_id == job => Some("sync.completed"),
            EventBody::Failed(failed) if failed.job_id == Some(job) => Some("sync.failed"),
            _ => None,
        };
        self.events(team).await.iter().filter_map(ends).collect()
    }
}

/// An end of a run that has not failed for long.
pub(crate) fn ended(lease: &Lease, ending: Ending) -> Settlement {
    Settlement { lease: lease.name, ending, sustained: Sustained::No }
}

/// A commit that found nothing to write.
pub(crate) fn unchanged(lease: &Lease) -> Apply {
    let tables = lease.name.key.scope.data_types().iter();
    Apply {
        lease: lease.name,
        mode: lease.mode,
        sent_at: Instant::now(),
        completeness: Completeness::Complete,
        doubt: None,
        tables: tables.map(|data_type| table(*data_type)).collect(),
        holds: Vec::new(),
        annotations: Vec::new(),
        body: None,
        due: DueTimes {
            full: lease.database_now + Duration::from_hours(1),
            delta: lease.database_now + Duration::from_mins(10),
        },
        cursor: None,
        changed: Vec::new(),
        truncated: false,
        counts: Counts::default(),
        wake: None,
    }
}

/// A table that was verified, with nothing to write.
pub(crate) fn table(data_type: DataType) -> TableApply {
    TableApply {
        data_type,
        verified: true,
        upserts: Upserts::Inline(Vec::new()),
        missing: Vec::new(),
        stale: Vec::new(),
        quarantined: Vec::new(),
        unseen: Vec::new(),
        counts: Counts::default(),
    }
}

/// A commit that inserts these environments with their nodes.
pub(crate) fn listing(lease: &Lease, environments: &[Environment]) -> Apply {
    let mut apply = unchanged(lease);
    let rows = environments.iter().map(|environment| insert(environment.item()));
    apply.tables[0].upserts = Upserts::Inline(rows.collect());
    let nodes = environments.iter().flat_map(Environment::node_items).map(insert);
    apply.tables[1].upserts = Upserts::Inline(nodes.collect());
    apply.counts = Counts {
        listed: environments.len() as u64,
        inserted: environments.len() as u64,
        ..Counts::default()
    };
    apply.mode = Mode::Full;
    apply
}

/// Tests of every store-side adapter; see [`conformance`](super).
#[macro_export]
macro_rules! store_exam {
    ($attr:tt, $make:expr) => {
        $crate::store_claim_exam!($attr, $make);
        $crate::store_request_exam!($attr, $make);
        $crate::store_lease_exam!($attr, $make);
        $crate::store_apply_exam!($attr, $make);
        $crate::store_holds_exam!($attr, $make);
        $crate::store_settle_exam!($attr, $make);
        $crate::outbox_exam!($attr, $make);
        $crate::replicas_exam!($attr, $make);
        $crate::platforms_exam!($attr, $make);
        $crate::teams_exam!($attr, $make);
        $crate::credentials_exam!($attr, $make);
        $crate::reads_exam!($attr, $make);
        $crate::upkeep_exam!($attr, $make);
    };
}
