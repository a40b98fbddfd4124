//! Brings a database to the schema in `migrations/`, back, and says where it stands.
//!
//! refinery applies the files and keeps their history; it takes no lock and knows no way back, so both
//! are here. An advisory lock lets replicas start together: one migrates, the others wait and find it
//! done. A short `lock_timeout` with retries keeps a migration from queueing behind a long reader, since
//! everybody else would then queue behind the migration.
//!
//! Absent on purpose: repairing a half-applied file. Each file is one transaction, so there is none.

use std::time::Duration;

use refinery::{Migration, Runner};
use time::OffsetDateTime;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

mod embedded {
    #![allow(missing_docs, clippy::pedantic)]
    refinery::embed_migrations!("migrations");
}

/// The way back of each migration, by version.
const DOWN: [(i32, &str); 6] = [
    (1, include_str!("../../../migrations/V1__teams.down.sql")),
    (2, include_str!("../../../migrations/V2__sync_states.down.sql")),
    (3, include_str!("../../../migrations/V3__mirror.down.sql")),
    (4, include_str!("../../../migrations/V4__events.down.sql")),
    (5, include_str!("../../../migrations/V5__api_views.down.sql")),
    (6, include_str!("../../../migrations/V6__claim_orders.down.sql")),
];

/// Any number will do, as long as nothing else in the database locks it.
const LOCK_KEY: i64 = 0x765a_5379_6e63_4d67;
/// How long another migrator may take before this one gives up.
const MIGRATOR_WAIT: &str = "60s";
/// How long one statement of a migration may wait for a table lock.
const TABLE_WAIT: &str = "3s";
/// Tries per migration when a table lock does not come in time.
const TRIES: u32 = 10;
/// Pause before the next try, in which those who queued behind us get their turn.
const PAUSE: Duration = Duration::from_millis(500);

/// Where one migration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Number of the file.
    pub version: i32,
    /// Name part of the file.
    pub name: String,
    /// When it was applied; `None` while pending.
    pub applied_at: Option<OffsetDateTime>,
    /// False for one that a newer binary applied.
    pub known: bool,
}

/// What `up` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Versions applied now, in order.
    pub applied: Vec<i32>,
    /// Newest version applied by a newer binary, if any. Migrations expand before they contract, so this
    /// binary can still serve.
    pub ahead: Option<i32>,
}

/// Why a migration did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A table lock did not come, however often we tried.
    #[error(
        "a lock needed by the migration is held by another session ({detail}): tried {TRIES} times; end the long transaction (see pg_stat_activity) and run `vz-sync migrate up` again"
    )]
    Locked {
        /// What the server said.
        detail: String,
    },
    /// Another migrator holds the advisory lock.
    #[error(
        "another migration has been running for more than {MIGRATOR_WAIT}; wait for it, or end its session (pg_locks, locktype 'advisory')"
    )]
    Busy,
    /// The database was migrated by a newer binary, which alone knows the way back.
    #[error("version {version} was applied by a newer vz-sync; use that binary to go down")]
    Unknown {
        /// The version without a way back here.
        version: i32,
    },
    /// An applied file differs from the one in this binary, or one is missing.
    #[error("the migration history does not fit this binary: {0}")]
    History(#[source] refinery::Error),
    /// A file failed; it left no trace, the ones before it stay.
    #[error("{migration}: {detail}")]
    Apply {
        /// What refinery was doing, with the file's name.
        migration: String,
        /// What the server said.
        detail: String,
    },
    /// The server refused a statement.
    #[error("{during}: {}", describe(source))]
    Database {
        /// What was being done.
        during: &'static str,
        /// The server's answer.
        source: tokio_postgres::Error,
    },
}

/// Newest version this binary knows.
pub fn latest() -> i32 {
    known().iter().map(Migration::version).max().unwrap_or(0)
}

/// Applies what is pending, each file in its own transaction.
///
/// `client` must be a session of its own, not one behind a transaction-level pooler: the lock belongs to
/// the session, and is freed with it if this future is dropped.
pub async fn up(client: &mut Client) -> Result<Report, MigrateError> {
    lock(client).await?;
    let outcome = up_locked(client).await;
    unlock(client, outcome).await
}

/// Takes back every version above `to`, newest first, in one transaction. `0` leaves an empty database.
pub async fn down(client: &mut Client, to: i32) -> Result<Vec<i32>, MigrateError> {
    lock(client).await?;
    let outcome = down_locked(client, to).await;
    unlock(client, outcome).await
}

/// Every known or applied migration, in order. Changes nothing and takes no lock.
pub async fn status(client: &Client) -> Result<Vec<Status>, MigrateError> {
    let applied = history(client).await?;
    let known = known();
    let mut all: Vec<Status> = known
        .iter()
        .map(|migration| Status {
            version: migration.version(),
            name: migration.name().to_owned(),
            applied_at: applied
                .iter()
                .find(|a| a.version == migration.version())
                .and_then(|a| a.applied_at),
            known: true,
        })
        .collect();
    all.extend(applied.into_iter().filter(|a| known.iter().all(|k| k.version() != a.version)));
    all.sort_by_key(|status| status.version);
    Ok(all)
}

/// Creates the role `vz_reader` if the cluster lacks it, and lets it read the schema `vz_api`.
pub async fn create_reader(client: &Client) -> Result<(), MigrateError> {
    client
        .batch_execute(include_str!("sql/create_reader.sql"))
        .await
        .map_err(failed("creating the role vz_reader (needs CREATEROLE)"))
}

async fn up_locked(client: &mut Client) -> Result<Report, MigrateError> {
    let before = history(client).await?;
    let newest = before.last().map_or(0, |status| status.version);
    if newest > latest() {
        return match known().iter().find(|k| before.iter().all(|b| b.version != k.version())) {
            None => Ok(Report { applied: Vec::new(), ahead: Some(newest) }),
            Some(_) => Err(MigrateError::Unknown { version: newest }),
        };
    }
    let mut report = Report::default();
    for attempt in 1.. {
        let error = match runner().run_async(client).await {
            Ok(run) => {
                report.applied.extend(run.applied_migrations().iter().map(Migration::version));
                break;
            }
            Err(error) => error,
        };
        // Files before the one that failed are committed and stay.
        let done = error.report().map(refinery::Report::applied_migrations);
        report.applied.extend(done.into_iter().flatten().map(Migration::version));
        match server_error(&error) {
            None => return Err(MigrateError::History(error)),
            Some(server) if !lock_timed_out(server) => {
                return Err(MigrateError::Apply {
                    migration: refused(&error),
                    detail: describe(server),
                });
            }
            Some(server) if attempt >= TRIES => {
                return Err(MigrateError::Locked { detail: describe(server) });
            }
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(report)
}

async fn down_locked(client: &mut Client, to: i32) -> Result<Vec<i32>, MigrateError> {
    let applied = history(client).await?;
    let mut steps = Vec::new();
    for version in applied.iter().rev().map(|status| status.version).filter(|version| *version > to)
    {
        let (_, sql) =
            DOWN.iter().find(|(v, _)| *v == version).ok_or(MigrateError::Unknown { version })?;
        steps.push((version, *sql));
    }
    for attempt in 1.. {
        match run_down(client, &steps).await {
            Ok(()) => break,
            Err(error) if !lock_timed_out(&error) => return Err(failed("going down")(error)),
            Err(error) if attempt >= TRIES => {
                return Err(MigrateError::Locked { detail: describe(&error) });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(steps.into_iter().map(|(version, _)| version).collect())
}

async fn run_down(client: &mut Client, steps: &[(i32, &str)]) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    for (version, sql) in steps {
        transaction.batch_execute(sql).await?;
        transaction
            .execute("DELETE FROM refinery_schema_history WHERE version = $1", &[version])
            .await?;
    }
    transaction.commit().await
}

async fn lock(client: &Client) -> Result<(), MigrateError> {
    let wait = format!(
        "SET lock_timeout = '{MIGRATOR_WAIT}'; SELECT pg_advisory_lock({LOCK_KEY}); SET lock_timeout = '{TABLE_WAIT}'"
    );
    client.batch_execute(&wait).await.map_err(|error| {
        if lock_timed_out(&error) {
            MigrateError::Busy
        } else {
            failed("taking the migration lock")(error)
        }
    })
}

/// Frees the lock whatever happened; the first failure is the one worth telling.
async fn unlock<T>(client: &Client, outcome: Result<T, MigrateError>) -> Result<T, MigrateError> {
    let freed = client
        .batch_execute(&format!("SELECT pg_advisory_unlock({LOCK_KEY}); RESET lock_timeout"))
        .await
        .map_err(failed("freeing the migration lock"));
    outcome.and_then(|value| freed.map(|()| value))
}

/// What refinery wrote down, oldest first; empty in an untouched database.
async fn history(client: &Client) -> Result<Vec<Status>, MigrateError> {
    const DURING: &str = "reading the migration history";
    let exists = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await
        .map_err(failed(DURING))?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client
        .query("SELECT version, name, applied_on::timestamptz FROM refinery_schema_history ORDER BY version", &[])
        .await
        .map_err(failed(DURING))?;
    let newest = latest();
    let status = |row: &tokio_postgres::Row| {
        let version = row.get(0);
        Status { version, name: row.get(1), applied_at: row.get(2), known: version <= newest }
    };
    Ok(rows.iter().map(status).collect())
}

fn runner() -> Runner {
    embedded::migrations::runner()
}

fn known() -> Vec<Migration> {
    runner().get_migrations().clone()
}

fn server_error(error: &refinery::Error) -> Option<&tokio_postgres::Error> {
    match error.kind() {
        refinery::error::Kind::Connection(_, source) => source.downcast_ref(),
        _ => None,
    }
}

/// refinery puts the file's name in the first half of its message and the driver's text in the second.
fn refused(error: &refinery::Error) -> String {
    match error.kind() {
        refinery::error::Kind::Connection(during, _) => during.clone(),
        other => other.to_string(),
    }
}

fn lock_timed_out(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

fn failed(during: &'static str) -> impl Fn(tokio_postgres::Error) -> MigrateError {
    move |source| MigrateError::Database { during, source }
}

/// The driver's own text is "db error"; the server's message is what helps.
fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |server| format!("{} ({})", server.message(), server.code().code()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_has_a_way_back() {
        let mut versions: Vec<i32> = known().iter().map(Migration::version).collect();
        versions.sort_unstable();
        assert_eq!(versions, DOWN.map(|(version, _)| version));
        assert!(DOWN.iter().all(|(_, sql)| sql.contains("DROP")));
    }
}
