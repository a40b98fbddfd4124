//! The store in Postgres: it sits the exam of every store, and then what only
//! a real server can be asked.

mod commit_lost;
mod exam;
mod fencing;
mod scenes;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio_postgres::{Client, Config};
use vz_sync::adapters::postgres::credentials::PgCredentials;
use vz_sync::adapters::postgres::outbox::PgOutbox;
use vz_sync::adapters::postgres::platforms::PgPlatforms;
use vz_sync::adapters::postgres::pool::{PoolSizes, Pools};
use vz_sync::adapters::postgres::reads::PgReads;
use vz_sync::adapters::postgres::replicas::PgReplicas;
use vz_sync::adapters::postgres::store::{PgStore, StoreSettings};
use vz_sync::adapters::postgres::teams::PgTeams;
use vz_sync::adapters::postgres::upkeep::PgUpkeep;
use vz_sync::secrets::{KeyRing, MasterKey};
use vz_sync_actors::conformance::{Pace, StoreSubject};
use vz_sync_actors::domain::{Completeness, Counts, JobId, Mode, ScopeKey, TeamId};
use vz_sync_actors::ports::credentials::{Credentials as _, OnOtherAccount};
use vz_sync_actors::ports::replicas::Replicas as _;
use vz_sync_actors::ports::store::{
    Apply, DueTimes, Lease, LeaseAnswer, Store, TableApply, Upsert, Upserts,
};
use vz_sync_actors::ports::teams::{Rollout, Teams as _};
use vz_sync_actors::testkit::fixtures::{
    DEAD_AFTER, OWNER_UID, REDISPATCH, lease_ask, replica, team,
};

use crate::support::pace::move_times;
use crate::support::postgres::TestDatabase;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A database with the schema, and every adapter over it.
struct Ground {
    database: Arc<TestDatabase>,
    keys: Arc<KeyRing>,
    pools: Pools,
    store: Arc<PgStore>,
}

impl Ground {
    async fn new() -> Self {
        let database = Arc::new(TestDatabase::migrated().await);
        let keys = Arc::new(KeyRing::of(MasterKey::generate("k").unwrap()));
        let pools = pools(&database.config());
        let settings = StoreSettings::default();
        let store = Arc::new(PgStore::new(pools.clone(), Arc::clone(&keys), settings));
        Self { database, keys, pools, store }
    }

    /// The same with teams that take part and have keys, and one live replica.
    async fn with_teams(ids: &[i64]) -> Self {
        let ground = Self::new().await;
        let pool: &Pool = &ground.pools.reads;
        let teams = PgTeams::new(pool.clone());
        let everyone = Rollout { enabled: true, everyone: true, ..Rollout::default() };
        teams.set_rollout(&everyone).await.unwrap();
        let credentials = PgCredentials::new(pool.clone(), Arc::clone(&ground.keys));
        for id in ids {
            teams.put(&team(*id)).await.unwrap();
            let key = format!("key-of-{id}").into();
            credentials.replace(TeamId(*id), key, OWNER_UID, OnOtherAccount::Refuse).await.unwrap();
        }
        PgReplicas::new(pool.clone()).heartbeat(&replica(1), DEAD_AFTER).await.unwrap();
        ground
    }

    async fn sql(&self) -> Client {
        self.database.client().await
    }

    /// The scope's queued job, claimed.
    async fn claim(&self, key: ScopeKey) -> JobId {
        let claimed = self.store.claim(1000, REDISPATCH).await.unwrap();
        claimed.into_iter().find(|entry| entry.key == key).expect("the scope is due").job
    }

    async fn lease(&self, key: ScopeKey, run: u64) -> Lease {
        let job = self.claim(key).await;
        granted(self.store.as_ref(), key, job, run).await
    }

    /// Makes every state due again.
    async fn due(&self) {
        let due = "UPDATE vz_sync_states SET next_delta_at = now(), next_full_at = now(), not_before = NULL,
                          dispatched_at = NULL, redispatch_at = NULL";
        self.sql().await.batch_execute(due).await.unwrap();
    }

    /// Every port of the store side, for the exams.
    fn subject(&self) -> StoreSubject {
        let pool = || self.pools.reads.clone();
        StoreSubject {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            reads: Arc::new(PgReads::new(pool(), DEAD_AFTER, DAY * 90)),
            replicas: Arc::new(PgReplicas::new(pool())),
            platforms: Arc::new(PgPlatforms::new(pool())),
            outbox: Arc::new(PgOutbox::new(pool())),
            upkeep: Arc::new(PgUpkeep::new(pool())),
            teams: Arc::new(PgTeams::new(pool())),
            credentials: Arc::new(PgCredentials::new(pool(), Arc::clone(&self.keys))),
            pace: Arc::new(MovedPace(Arc::clone(&self.database))),
        }
    }
}

fn pools(config: &Config) -> Pools {
    Pools::open(config, PoolSizes { pipeline: 8, reads: 4, staging: 3 }).unwrap()
}

async fn granted(store: &dyn Store, key: ScopeKey, job: JobId, run: u64) -> Lease {
    match store.lease(&lease_ask(key, job, run)).await.unwrap() {
        LeaseAnswer::Granted(lease) => *lease,
        other => panic!("{key} was not leased: {other:?}"),
    }
}

/// A complete full listing that writes these rows into the scope's first table.
fn full(lease: &Lease, upserts: Upserts) -> Apply {
    let mut first = Some(upserts);
    let tables = lease.name.key.scope.data_types().iter().map(|data_type| TableApply {
        data_type: *data_type,
        verified: true,
        upserts: first.take().unwrap_or_else(|| Upserts::Inline(Vec::new())),
        missing: Vec::new(),
        stale: Vec::new(),
        quarantined: Vec::new(),
        unseen: Vec::new(),
        counts: Counts::default(),
    });
    Apply {
        tables: tables.collect(),
        lease: lease.name,
        mode: Mode::Full,
        sent_at: tokio::time::Instant::now(),
        completeness: Completeness::Complete,
        doubt: None,
        holds: Vec::new(),
        annotations: Vec::new(),
        body: None,
        due: DueTimes {
            full: lease.database_now + Duration::from_secs(3600),
            delta: lease.database_now + Duration::from_secs(600),
        },
        cursor: None,
        changed: Vec::new(),
        truncated: false,
        counts: Counts::default(),
        wake: None,
    }
}

fn inline(rows: Vec<Upsert>) -> Upserts {
    Upserts::Inline(rows)
}

/// Lets time pass by moving every stored time into the past.
struct MovedPace(Arc<TestDatabase>);

#[async_trait]
impl Pace for MovedPace {
    async fn pass(&self, by: Duration) {
        move_times(&self.0.client().await, by, &[]).await;
    }
}
