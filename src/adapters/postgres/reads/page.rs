//! One page of a table: the statement for a question, and the cursor after it.
//!
//! Keyset paging: the next page starts after the last row's sort key and id,
//! so rows that come and go elsewhere neither repeat nor hide others.

use std::fmt::Write as _;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::types::ToSql;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::reads::{Cursor, ItemQuery, ItemRow};

use super::table::{self, Kind, Nulls};
use crate::adapters::postgres::call::refused;

/// More conditions than any reader needs; each makes another statement.
const MAX_FILTERS: usize = 16;
/// Statements with more filters than this are too many kinds to keep prepared.
const MAX_CACHED_FILTERS: usize = 2;

/// A statement with its parameters after the team.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
    /// Worth keeping prepared.
    pub(super) common: bool,
}

/// A parameter.
pub(super) type Value = Box<dyn ToSql + Sync + Send>;

/// The statement for a question; `None` when nothing can match it.
pub(super) fn statement(query: &ItemQuery) -> PortResult<Option<Statement>> {
    let table = table::of(query.data_type);
    let (_, column, kind, nulls) =
        table.sorts.iter().find(|(field, ..)| *field == query.sort).ok_or_else(|| {
            refused(format!("{} cannot be sorted by {:?}", query.data_type, query.sort))
        })?;
    if query.filters.len() > MAX_FILTERS {
        return Err(refused(format!("more than {MAX_FILTERS} filters at once")));
    }
    let mut builder = Builder { sql: String::new(), params: Vec::new() };
    if !query.include_stale {
        builder.sql.push_str("  AND NOT r.stale\n");
    }
    // In the table's order, so that one set of filters is one statement.
    let mut filters = Vec::with_capacity(query.filters.len());
    for (field, value) in &query.filters {
        let place =
            table.filters.iter().position(|(known, ..)| known == field).ok_or_else(|| {
                refused(format!("{} cannot be filtered by {field:?}", query.data_type))
            })?;
        filters.push((place, value));
    }
    filters.sort_by_key(|(place, _)| *place);
    for (place, value) in &filters {
        let (_, column, kind) = table.filters[*place];
        let Some(value) = parse(kind, value) else { return Ok(None) };
        let place = builder.param(value);
        let _ = match kind {
            Kind::Member => writeln!(builder.sql, "  AND {column} @> ARRAY[${place}::text]"),
            _ => writeln!(builder.sql, "  AND {column} = ${place}"),
        };
    }
    if let Some(text) = query.text.as_deref().filter(|text| !text.is_empty()) {
        let Some(value) = parse(Kind::Text, text) else { return Ok(None) };
        let place = builder.param(value);
        // The columns' own collation knows capitals of ASCII only.
        let _ = writeln!(
            builder.sql,
            "  AND position(lower(${place}::text) IN lower(concat_ws(E'\\n', {}) COLLATE \"default\")) > 0",
            table.text
        );
    }
    if let Some(cursor) = &query.after {
        builder.after(cursor, column, *kind, *nulls, query.descending)?;
    }
    let direction = if query.descending { "DESC" } else { "ASC" };
    // An id is its own tie-break.
    let tie = if *column == "r.id" { String::new() } else { format!(", r.id {direction}") };
    let limit = builder.param(Box::new(i64::from(page_size(query)) + 1));
    let conditions = builder.sql;
    let order = format!("ORDER BY {column} {direction}{tie}\n");
    let select = table.select;
    // An index serves the default order. For any other, the rows of the page
    // are chosen first: a sort of whole rows would spell out every payload.
    let sql = match select.find("\nFROM ") {
        Some(from) if query.sort != table.sorts[0].0 => format!(
            "{select}  AND r.id = ANY (ARRAY(SELECT r.id{}{conditions}{order}LIMIT ${limit}))\n{order}",
            &select[from..]
        ),
        _ => format!("{select}{conditions}{order}LIMIT ${limit}"),
    };
    let common = filters.len() <= MAX_CACHED_FILTERS
        && filters.windows(2).all(|pair| pair[0].0 != pair[1].0);
    Ok(Some(Statement { sql, params: builder.params, common }))
}

/// Rows of a page.
pub(super) fn page_size(query: &ItemQuery) -> u32 {
    query.limit.clamp(1, 500)
}

/// Where the page that ends with this row ends.
pub(super) fn cursor(query: &ItemQuery, last: &ItemRow) -> PortResult<Cursor> {
    let key = match query.sort.as_str() {
        "id" => Some(last.id.as_str().to_owned()),
        "synced_at" => {
            Some(last.synced_at.format(&Rfc3339).map_err(|error| refused(error.to_string()))?)
        }
        // Sort fields are named as their columns.
        field => {
            let columns: serde_json::Value = serde_json::from_str(&last.columns)
                .map_err(|error| refused(format!("columns of {}: {error}", last.id)))?;
            match columns.get(field) {
                None | Some(serde_json::Value::Null) => None,
                Some(serde_json::Value::String(text)) => Some(text.clone()),
                Some(other) => Some(other.to_string()),
            }
        }
    };
    Ok(Cursor { key, id: last.id.as_str().to_owned() })
}

struct Builder {
    sql: String,
    params: Vec<Value>,
}

impl Builder {
    /// Adds a parameter; the team is the first, so the next has number 2.
    fn param(&mut self, value: Value) -> usize {
        self.params.push(value);
        self.params.len() + 1
    }

    /// Rows after a cursor. The id breaks ties in the direction of the sort.
    fn after(
        &mut self,
        cursor: &Cursor,
        column: &str,
        kind: Kind,
        nulls: Nulls,
        descending: bool,
    ) -> PortResult<()> {
        let bad = || refused("the cursor is not one of this list; start again without it");
        let id = parse(Kind::Text, &cursor.id).ok_or_else(bad)?;
        let beyond = if descending { '<' } else { '>' };
        let Some(key) = &cursor.key else {
            if nulls == Nulls::None {
                return Err(bad());
            }
            let id = self.param(id);
            // Descending, the nulls come first and all others after them.
            let others =
                if descending { format!(" OR {column} IS NOT NULL") } else { String::new() };
            let _ =
                writeln!(self.sql, "  AND (({column} IS NULL AND r.id {beyond} ${id}){others})");
            return Ok(());
        };
        let key = self.param(parse(kind, key).ok_or_else(bad)?);
        if column == "r.id" {
            let _ = writeln!(self.sql, "  AND r.id {beyond} ${key}");
            return Ok(());
        }
        let id = self.param(id);
        // A row comparison bounds an index scan; null is greatest, so it follows only upwards.
        let rows = format!("({column}, r.id) {beyond} (${key}, ${id})");
        let _ = match (descending, nulls) {
            (false, Nulls::Greatest) => writeln!(self.sql, "  AND ({rows} OR {column} IS NULL)"),
            _ => writeln!(self.sql, "  AND {rows}"),
        };
        Ok(())
    }
}

/// A value as the column holds it; `None` for one that no row can hold.
fn parse(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        // Postgres knows no text with a NUL in it.
        Kind::Text | Kind::Member => {
            (!text.contains('\0')).then(|| Box::new(text.to_owned()) as Value)
        }
        Kind::Int => text.parse::<i32>().ok().map(|number| Box::new(number) as Value),
        Kind::Long => text.parse::<i64>().ok().map(|number| Box::new(number) as Value),
        Kind::Time => {
            OffsetDateTime::parse(text, &Rfc3339).ok().map(|moment| Box::new(moment) as Value)
        }
    }
}
