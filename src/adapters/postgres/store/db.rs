//! One connection, one transaction, and values on their way in and out.

use std::str::FromStr;

use bytes::{BufMut as _, BytesMut};
use deadpool_postgres::{Object, Pool};
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use vz_sync_actors::domain::{Class, ScopeKey};

use super::super::error::Fault;

/// Parameters of a statement.
pub(super) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// A transaction; rolled back unless committed.
pub(super) struct Tx<'a>(deadpool_postgres::Transaction<'a>);

impl<'a> Tx<'a> {
    pub(super) async fn begin(client: &'a mut Object) -> Result<Self, Fault> {
        Ok(Self(client.transaction().await?))
    }

    pub(super) async fn rows(&self, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, Fault> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.query(&statement, params).await?)
    }

    pub(super) async fn row(&self, sql: &str, params: &Params<'_>) -> Result<Option<Row>, Fault> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    pub(super) async fn execute(&self, sql: &str, params: &Params<'_>) -> Result<u64, Fault> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.execute(&statement, params).await?)
    }

    pub(super) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.0.batch_execute(sql).await?)
    }

    /// Wakes the schedulers once the transaction is visible.
    pub(super) async fn notify_due(&self) -> Result<(), Fault> {
        self.rows("SELECT pg_notify('vz_sync', 'due')", &[]).await.map(drop)
    }

    /// From here on a failure may be a success whose answer was lost.
    pub(super) async fn commit(self) -> Result<(), Fault> {
        self.0.commit().await.map_err(Fault::Commit)
    }
}

/// One statement that is a transaction of its own and writes.
pub(super) async fn write(pool: &Pool, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, Fault> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, params).await.map_err(Fault::Commit)
}

/// One statement that only reads.
pub(super) async fn read(pool: &Pool, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, Fault> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, params).await?)
}

/// Reads a column of words.
pub(super) fn word<T: FromStr>(row: &Row, column: &str) -> Result<T, Fault>
where
    T::Err: std::fmt::Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error| Fault::unreadable(format!("column {column}: {error}")))
}

/// The number of a class in the tables.
pub(super) fn class_code(class: Class) -> i16 {
    i16::from(class.amqp_priority())
}

pub(super) fn class(row: &Row) -> Result<Class, Fault> {
    let code: i16 = row.try_get("class")?;
    Class::ALL
        .into_iter()
        .find(|class| class_code(*class) == code)
        .ok_or_else(|| Fault::unreadable(format!("column class: {code} is no class")))
}

pub(super) fn key(row: &Row) -> Result<ScopeKey, Fault> {
    let team = vz_sync_actors::domain::TeamId(row.try_get("team_id")?);
    Ok(ScopeKey::new(team, word(row, "scope")?))
}

/// JSON text as it is, without a detour through a parsed value.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl ToSql for JsonText<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // The version byte that jsonb's binary form begins with.
        if *kind == Type::JSONB {
            out.put_u8(1);
        }
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::JSON | Type::JSONB)
    }

    to_sql_checked!();
}

/// An array as Postgres writes it, for arrays inside of arrays.
pub(super) fn array_literal(values: &[String]) -> String {
    let mut text = String::with_capacity(2 + values.iter().map(|v| v.len() + 3).sum::<usize>());
    text.push('{');
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push('"');
        for letter in value.chars() {
            if matches!(letter, '"' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_literal_quotes_what_needs_it() {
        assert_eq!(array_literal(&[]), "{}");
        let values = ["a b".to_owned(), "q\"\\".to_owned(), String::new(), "NULL".to_owned()];
        assert_eq!(array_literal(&values), r#"{"a b","q\"\\","","NULL"}"#);
    }

    #[test]
    fn every_class_has_a_number_of_its_own() {
        let mut codes = Class::ALL.map(class_code).to_vec();
        codes.dedup();
        assert_eq!(codes, [1, 3, 4, 6, 9]);
    }
}
