//! One statement through the pool: what most adapters need of a connection.

use deadpool_postgres::{Object, Pool, Transaction};
use time::OffsetDateTime;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Row, Statement};
use vz_sync_actors::ports::{PortError, PortResult};

use super::error::{Fault, judged, told};

const SERVICE: &str = "postgres";

/// Parameters of a statement.
pub(super) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// Takes a connection.
pub(super) async fn connection(pool: &Pool) -> PortResult<Object> {
    pool.get().await.map_err(|error| Fault::Pool(error).into())
}

/// Prepares through the connection's cache.
pub(super) async fn prepare(client: &Object, sql: &str) -> PortResult<Statement> {
    client.prepare_cached(sql).await.map_err(|error| judged(&error))
}

/// Rows of one cached statement.
pub(super) async fn rows(pool: &Pool, sql: &str, params: &Params<'_>) -> PortResult<Vec<Row>> {
    let client = connection(pool).await?;
    let statement = prepare(&client, sql).await?;
    client.query(&statement, params).await.map_err(|error| judged(&error))
}

/// The row of a statement that gives one at most.
pub(super) async fn row(pool: &Pool, sql: &str, params: &Params<'_>) -> PortResult<Option<Row>> {
    Ok(rows(pool, sql, params).await?.into_iter().next())
}

/// Rows touched by one cached statement.
pub(super) async fn execute(pool: &Pool, sql: &str, params: &Params<'_>) -> PortResult<u64> {
    let client = connection(pool).await?;
    let statement = prepare(&client, sql).await?;
    client.execute(&statement, params).await.map_err(|error| judged(&error))
}

/// A refusal of our own.
pub(super) fn refused(message: impl Into<String>) -> PortError {
    PortError::Refused { service: SERVICE, message: message.into() }
}

/// Reads a column; a type that does not fit is a refusal that names it.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> PortResult<T> {
    row.try_get(column).map_err(|error| refused(told(&error)))
}

/// Reads a column of words.
pub(super) fn word<T: std::str::FromStr>(row: &Row, column: &str) -> PortResult<T>
where
    T::Err: std::fmt::Display,
{
    let text: &str = get(row, column)?;
    text.parse().map_err(|error| refused(format!("column {column}: {error}")))
}

/// Reads a column of words that may be null.
pub(super) fn word_or_null<T: std::str::FromStr>(row: &Row, column: &str) -> PortResult<Option<T>>
where
    T::Err: std::fmt::Display,
{
    let text: Option<&str> = get(row, column)?;
    text.map(|text| text.parse().map_err(|error| refused(format!("column {column}: {error}"))))
        .transpose()
}

/// Reads a moment that may be null.
pub(super) fn moment(row: &Row, column: &str) -> PortResult<Option<OffsetDateTime>> {
    get(row, column)
}

/// A transaction. Dropped without a commit it is rolled back.
pub(super) struct Work<'a>(Transaction<'a>);

impl<'a> Work<'a> {
    /// Begins one.
    pub(super) async fn begin(client: &'a mut Object) -> PortResult<Self> {
        client.transaction().await.map(Self).map_err(|error| judged(&error))
    }

    /// Rows touched.
    pub(super) async fn run(&self, sql: &str, params: &Params<'_>) -> PortResult<u64> {
        let statement = self.prepare(sql).await?;
        self.0.execute(&statement, params).await.map_err(|error| judged(&error))
    }

    /// Rows of a statement.
    pub(super) async fn rows(&self, sql: &str, params: &Params<'_>) -> PortResult<Vec<Row>> {
        let statement = self.prepare(sql).await?;
        self.0.query(&statement, params).await.map_err(|error| judged(&error))
    }

    /// The row of a statement that gives one at most.
    pub(super) async fn maybe(&self, sql: &str, params: &Params<'_>) -> PortResult<Option<Row>> {
        let statement = self.prepare(sql).await?;
        self.0.query_opt(&statement, params).await.map_err(|error| judged(&error))
    }

    /// The row of a statement that gives one.
    pub(super) async fn one(&self, sql: &str, params: &Params<'_>) -> PortResult<Row> {
        let statement = self.prepare(sql).await?;
        self.0.query_one(&statement, params).await.map_err(|error| judged(&error))
    }

    /// Commits; an answer that is lost on the way leaves the outcome unknown.
    pub(super) async fn commit(self) -> PortResult<()> {
        self.0.commit().await.map_err(|error| Fault::Commit(error).into())
    }

    async fn prepare(&self, sql: &str) -> PortResult<Statement> {
        self.0.prepare_cached(sql).await.map_err(|error| judged(&error))
    }
}
