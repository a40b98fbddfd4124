//! What a failure of Postgres means to the engine.
//!
//! Three questions decide: did the transaction certainly not happen, may it
//! be tried again as a whole, and what may be told. The server's DETAIL and
//! the parameters hold rows of customers and are never told.

use std::time::Duration;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;
use vz_sync_actors::ports::PortError;

const SERVICE: &str = "postgres";

/// Tries of one transaction that lost a race.
const TRIES: u32 = 5;

/// A failed step of a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    /// No connection could be had.
    Pool(PoolError),
    /// A statement failed before COMMIT was sent: nothing happened.
    Statement(tokio_postgres::Error),
    /// COMMIT, or a statement that is a transaction of its own, brought no
    /// clear answer.
    Commit(tokio_postgres::Error),
    /// The engine's own error.
    Port(PortError),
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error)
    }
}

impl From<PortError> for Fault {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl Fault {
    /// Something in the database that this binary cannot read.
    pub(super) fn unreadable(what: impl std::fmt::Display) -> Self {
        Self::Port(PortError::Refused { service: SERVICE, message: what.to_string() })
    }

    /// Whether the transaction lost a race and is certainly rolled back.
    fn lost_a_race(&self) -> bool {
        let (Self::Statement(error) | Self::Commit(error)) = self else { return false };
        let Some(server) = error.as_db_error() else { return false };
        let code = server.code();
        *code == SqlState::T_R_SERIALIZATION_FAILURE
            || *code == SqlState::T_R_DEADLOCK_DETECTED
            || *code == SqlState::LOCK_NOT_AVAILABLE
            // Two at once made the one queued or the one running job of a scope.
            || (*code == SqlState::UNIQUE_VIOLATION
                && server.constraint().is_some_and(|name| name.starts_with("vz_sync_jobs_one_")))
    }
}

impl From<Fault> for PortError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Port(error) => error,
            Fault::Pool(PoolError::Backend(error)) | Fault::Statement(error) => judged(&error),
            Fault::Pool(PoolError::Timeout(_)) => Self::Unavailable {
                service: SERVICE,
                message: "every connection of the pool is in use".to_owned(),
            },
            Fault::Pool(error) => {
                Self::Unavailable { service: SERVICE, message: error.to_string() }
            }
            Fault::Commit(error) if lost(&error) => Self::OutcomeUnknown {
                service: SERVICE,
                message: format!("the connection was lost during COMMIT: {}", told(&error)),
            },
            Fault::Commit(error) => judged(&error),
        }
    }
}

/// Whether the session ended: of a COMMIT nobody can say what became of it.
fn lost(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|server| {
        matches!(server.severity(), "FATAL" | "PANIC") || server.code().code().starts_with("08")
    })
}

fn judged(error: &tokio_postgres::Error) -> PortError {
    let message = told(error);
    let passing = error.as_db_error().is_none_or(|server| {
        let code = server.code().code();
        // Connection, rollback, resources, operator; a lock that did not come; a
        // server that became a standby or runs out of disk.
        ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
            || matches!(code, "55P03" | "25006" | "58030")
            || server.severity() == "FATAL"
    });
    // Without the server's word it is the connection, or a value that did not
    // fit its parameter, which no repetition changes.
    let ours = error.as_db_error().is_none() && is_conversion(error);
    if passing && !ours {
        PortError::Unavailable { service: SERVICE, message }
    } else {
        PortError::Refused { service: SERVICE, message }
    }
}

fn is_conversion(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing") || text.starts_with("error deserializing")
}

/// The server's message and code, or the driver's text with its causes.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return format!("{} ({})", server.message(), server.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Runs a whole transaction, again when it lost a race, a few times and never
/// in step with the other loser.
pub(super) async fn retrying<T, F>(attempt: impl Fn() -> F) -> Result<T, PortError>
where
    F: Future<Output = Result<T, Fault>> + Send,
{
    let mut tries = 1;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(fault) if tries < TRIES && fault.lost_a_race() => {
                let most = 5_u64 << tries;
                tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most))).await;
                tries += 1;
            }
            Err(fault) => return Err(fault.into()),
        }
    }
}
