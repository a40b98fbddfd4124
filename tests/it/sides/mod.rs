//! The Postgres adapters beside the store, each against a real server.

mod credentials;
mod outbox;
mod platforms;
mod reads;
mod reads_status;
mod replicas;
mod signals;
mod teams;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool};
use secrecy::SecretString;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, NoTls};
use vz_sync::adapters::postgres::credentials::PgCredentials;
use vz_sync::adapters::postgres::reads::PgReads;
use vz_sync::adapters::postgres::teams::PgTeams;
use vz_sync::secrets::{KeyRing, MasterKey};
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::credentials::{Credentials as _, OnOtherAccount};
use vz_sync_actors::ports::teams::{NewTeam, Rollout, Teams as _};

use crate::support::postgres::TestDatabase;

const DEAD_AFTER: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_secs(86_400);
const OWNER: i64 = 7;

/// A database with the schema, a pool to it, and a session for plain SQL.
struct Side {
    database: TestDatabase,
    pool: Pool,
    sql: Client,
    ring: Arc<KeyRing>,
}

impl Side {
    async fn new() -> Self {
        let database = TestDatabase::migrated().await;
        let pool =
            Pool::builder(Manager::new(database.config(), NoTls)).max_size(4).build().unwrap();
        let sql = database.client().await;
        let ring = Arc::new(KeyRing::of(MasterKey::generate("k1").unwrap()));
        Self { database, pool, sql, ring }
    }

    /// The same with teams in the rollout, with keys.
    async fn with_teams(teams: &[i64]) -> Self {
        let side = Self::new().await;
        let everyone = Rollout { enabled: true, everyone: true, ..Rollout::default() };
        side.teams().set_rollout(&everyone, "tester").await.unwrap();
        for id in teams {
            side.teams().put(&new_team(*id)).await.unwrap();
            side.credentials()
                .replace(TeamId(*id), key(*id), OWNER, OnOtherAccount::Refuse, "tester")
                .await
                .unwrap();
        }
        side
    }

    fn teams(&self) -> PgTeams {
        PgTeams::new(self.pool.clone())
    }

    fn credentials(&self) -> PgCredentials {
        PgCredentials::new(self.pool.clone(), Arc::clone(&self.ring))
    }

    fn reads(&self) -> PgReads {
        PgReads::new(self.pool.clone(), DEAD_AFTER, DAY * 90)
    }

    async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    async fn value<T: FromSqlOwned>(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> T {
        self.sql.query_one(sql, params).await.unwrap().get(0)
    }
}

fn new_team(id: i64) -> NewTeam {
    NewTeam {
        id: TeamId(id),
        name: format!("team {id}"),
        platform_url: "https://app.hoster.example".to_owned(),
        cohorts: None,
        same_account: false,
    }
}

fn key(team: i64) -> SecretString {
    SecretString::from(format!("canary-key-of-{team}"))
}
