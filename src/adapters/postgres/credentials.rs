//! The credentials port: session keys, sealed at rest.
//!
//! A seal is bound to the team and to the platform's URL as stored, so a row
//! that is copied elsewhere does not open. A key leaves this adapter only in
//! an [`Access`]; no statement, error or log line holds one in the clear.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use secrecy::SecretString;
use tokio_postgres::Row;
use vz_sync_actors::domain::{PlatformId, TeamId};
use vz_sync_actors::ports::credentials::{
    Access, CredentialInfo, Credentials, OnOtherAccount, Resolved, account_changed,
};
use vz_sync_actors::ports::signals::Signal;
use vz_sync_actors::ports::{PortError, PortResult};

use super::account;
use super::call::{Work, connection, execute, get, refused, row, rows};
use super::signals::notify;
use crate::secrets::{KeyRing, Purpose, Sealed, SecretError};

const RESOLVE: &str = include_str!("sql/credentials_resolve.sql");
const STORE: &str = include_str!("sql/credentials_store.sql");
const DUE: &str = include_str!("sql/credentials_due.sql");
const RESEAL: &str = include_str!("sql/credentials_reseal.sql");
const PROBES: &str = include_str!("sql/credentials_probes.sql");
const OWNER: &str = include_str!("sql/credentials_owner.sql");
const OWNED_BY: &str = include_str!("sql/credentials_owned_by.sql");
const VALID: &str = include_str!("sql/credentials_valid.sql");
const UNPAUSE: &str = include_str!("sql/credentials_unpause.sql");
const REFUSED_AGAIN: &str = include_str!("sql/credentials_refused_again.sql");
const FOREIGN: &str = include_str!("sql/credentials_foreign.sql");

/// Keys in Postgres, sealed with a key ring.
#[derive(Debug, Clone)]
pub struct PgCredentials {
    pool: Pool,
    ring: Arc<KeyRing>,
}

impl PgCredentials {
    /// Keeps keys through `pool`, sealed with `ring`.
    pub const fn new(pool: Pool, ring: Arc<KeyRing>) -> Self {
        Self { pool, ring }
    }

    /// Seals anew with the ring's first key what an older one sealed; answers
    /// how many were. One that cannot be opened is left and counted second.
    pub async fn rotate(&self) -> PortResult<(u64, u64)> {
        let (mut done, mut unreadable) = (0, 0);
        for row in rows(&self.pool, FOREIGN, &[&self.ring.primary_id()]).await? {
            let team: i64 = get(&row, "team_id")?;
            let (old, url): (&[u8], &str) = (get(&row, "sealed")?, get(&row, "base_url")?);
            let purpose = Purpose::Session { team_id: team, platform_url: url };
            match unseal_text(old).and_then(|sealed| self.ring.rotate(purpose, &sealed)) {
                Ok(None) => {}
                Ok(Some(new)) => {
                    let text = new.to_text();
                    // Only what was read: a key that was replaced meanwhile stays.
                    done += execute(
                        &self.pool,
                        RESEAL,
                        &[&team, &old, &text.as_bytes(), &new.key_id()],
                    )
                    .await?;
                }
                Err(_) => unreadable += 1,
            }
        }
        Ok((done, unreadable))
    }

    fn open(&self, team: TeamId, row: &Row) -> PortResult<Resolved> {
        let Some(sealed) = get::<Option<&[u8]>>(row, "sealed")? else {
            return Ok(Resolved::None);
        };
        let base_url: String = get(row, "base_url")?;
        let purpose = Purpose::Session { team_id: team.0, platform_url: &base_url };
        match unseal_text(sealed).and_then(|sealed| self.ring.open(purpose, &sealed)) {
            Ok(session) => Ok(Resolved::Access(Access {
                platform: PlatformId(get(row, "platform_id")?),
                base_url,
                team,
                owner_uid: get(row, "owner_uid")?,
                session,
            })),
            Err(error) => Ok(Resolved::Unreadable(format!("team {team}: {error}"))),
        }
    }
}

#[async_trait]
impl Credentials for PgCredentials {
    async fn resolve(&self, team: TeamId) -> PortResult<Resolved> {
        match row(&self.pool, RESOLVE, &[&team.0]).await? {
            Some(row) => self.open(team, &row),
            None => Err(unknown(team)),
        }
    }

    async fn replace(
        &self,
        team: TeamId,
        key: SecretString,
        owner_uid: i64,
        other: OnOtherAccount,
        by: &str,
    ) -> PortResult<()> {
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        let known = work.maybe(OWNER, &[&team.0]).await?.ok_or_else(|| unknown(team))?;
        let owner: Option<i64> = get(&known, "owner_uid")?;
        let left = owner.filter(|owner| *owner != owner_uid);
        if let (Some(owner), OnOtherAccount::Refuse) = (left, other) {
            return Err(account_changed("postgres", team, owner, owner_uid));
        }
        let platform_url: &str = get(&known, "base_url")?;
        let purpose = Purpose::Session { team_id: team.0, platform_url };
        let sealed = self.ring.seal(purpose, &key).map_err(|error| refused(error.to_string()))?;
        drop(key);
        let text = sealed.to_text();
        work.run(STORE, &[&team.0, &text.as_bytes(), &sealed.key_id(), &by]).await?;
        work.run(OWNED_BY, &[&team.0, &owner_uid]).await?;
        work.run(UNPAUSE, &[&team.0]).await?;
        if left.is_some() {
            account::start_anew(&work, team).await?;
            notify(&work, Signal::RunsChanged(team)).await?;
        }
        work.run(DUE, &[&team.0]).await?;
        notify(&work, Signal::StatesDue).await?;
        work.commit().await
    }

    async fn erase(&self, team: TeamId) -> PortResult<()> {
        row(&self.pool, RESOLVE, &[&team.0]).await?.ok_or_else(|| unknown(team))?;
        execute(&self.pool, "DELETE FROM team_credentials WHERE team_id = $1", &[&team.0]).await?;
        Ok(())
    }

    async fn due_probes(&self, limit: u32, again_in: Duration) -> PortResult<Vec<TeamId>> {
        let found = rows(&self.pool, PROBES, &[&i64::from(limit), &again_in.as_secs_f64()]).await?;
        found.iter().map(|row| get(row, "team_id").map(TeamId)).collect()
    }

    async fn refused_again(&self, team: TeamId, again_in: Duration) -> PortResult<()> {
        execute(&self.pool, REFUSED_AGAIN, &[&team.0, &again_in.as_secs_f64()]).await?;
        Ok(())
    }

    async fn accepted(&self, team: TeamId) -> PortResult<bool> {
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        let alive = "SELECT FROM teams WHERE id = $1 AND deleted_at IS NULL";
        work.maybe(alive, &[&team.0]).await?.ok_or_else(|| unknown(team))?;
        work.run(VALID, &[&team.0]).await?;
        let cleared = work.run(UNPAUSE, &[&team.0]).await? > 0;
        if cleared {
            work.run(DUE, &[&team.0]).await?;
            notify(&work, Signal::StatesDue).await?;
        }
        work.commit().await?;
        Ok(cleared)
    }

    async fn describe(&self, team: TeamId) -> PortResult<Option<CredentialInfo>> {
        let row = row(&self.pool, RESOLVE, &[&team.0]).await?.ok_or_else(|| unknown(team))?;
        let Some(key_id) = get::<Option<String>>(&row, "key_id")? else { return Ok(None) };
        Ok(Some(CredentialInfo {
            key_id,
            set_at: get(&row, "set_at")?,
            owner_uid: get::<Option<i64>>(&row, "owner_uid")?.unwrap_or_default(),
        }))
    }
}

fn unknown(team: TeamId) -> PortError {
    PortError::NotFound(format!("team {team}"))
}

fn unseal_text(stored: &[u8]) -> Result<Sealed, SecretError> {
    std::str::from_utf8(stored).map_err(|_| SecretError::Malformed("it is not text"))?.parse()
}
