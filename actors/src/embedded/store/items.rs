//! Rows of the mirror as readers get them: columns, filters, sort keys, pages.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::db::{Archived, Row, Tables};
use crate::domain::item::Columns;
use crate::domain::{DataType, ExternalId, TeamId};
use crate::ports::reads::{Cursor, ItemQuery, ItemRow, Page, filter_fields, sort_fields};
use crate::ports::{PortError, PortResult};

/// A row with its columns spelt out, before it is filtered and sorted.
struct Candidate {
    row: ItemRow,
    columns: Map<String, Value>,
}

impl Tables {
    pub fn items(&self, query: &ItemQuery) -> PortResult<Page<ItemRow>> {
        check(query)?;
        let matching = self
            .candidates(query.team, query.data_type)
            .filter(|found| query.include_stale || !found.row.stale)
            .filter(|found| matches(found, query));
        let mut rows: Vec<_> = matching
            .map(|found| (sort_key(&found, &query.sort), found.row))
            .map(|(key, row)| (Place { last: key.is_none(), key, id: row.id.to_string() }, row))
            .collect();
        rows.sort_by(|(a, _), (b, _)| if query.descending { b.cmp(a) } else { a.cmp(b) });
        if let Some(cursor) = &query.after {
            let place = Place::of(cursor);
            rows.retain(|(at, _)| if query.descending { *at < place } else { *at > place });
        }
        let limit = query.limit.clamp(1, 500) as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|(place, _)| Cursor { key: place.key.clone(), id: place.id.clone() });
        Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next })
    }

    pub fn item(&self, team: TeamId, data_type: DataType, id: &ExternalId) -> Option<ItemRow> {
        self.candidates(team, data_type).map(|found| found.row).find(|row| row.id == *id)
    }

    pub fn nodes_of(&self, team: TeamId, environment: &ExternalId, stale: bool) -> Vec<ItemRow> {
        self.candidates(team, DataType::Nodes)
            .filter(|found| stale || !found.row.stale)
            .filter(|found| text(&found.columns, "environment_id") == Some(environment.as_str()))
            .map(|found| found.row)
            .collect()
    }

    fn candidates(
        &self,
        team: TeamId,
        data_type: DataType,
    ) -> Box<dyn Iterator<Item = Candidate> + '_> {
        let verified = self.verified.get(&(team, data_type)).and_then(|kept| kept.at);
        if data_type == DataType::ArchivedSites {
            let sites = self.archive.get(&team).into_iter().flatten();
            return Box::new(sites.map(move |(id, site)| archived(id, site, verified)));
        }
        let rows = self.rows.get(&(team, data_type)).into_iter().flatten();
        Box::new(rows.map(move |(id, row)| mirrored(id, row, verified)))
    }
}

fn check(query: &ItemQuery) -> PortResult<()> {
    let refuse = |field: &str, allowed: &[&str]| {
        Err(PortError::Refused {
            service: "store",
            message: format!("{field:?} is not one of {}", allowed.join(", ")),
        })
    };
    let filters = filter_fields(query.data_type);
    if let Some((field, _)) = query.filters.iter().find(|(f, _)| !filters.contains(&f.as_str())) {
        return refuse(field, filters);
    }
    let sorts = sort_fields(query.data_type);
    if sorts.contains(&query.sort.as_str()) { Ok(()) } else { refuse(&query.sort, sorts) }
}

/// Where a row stands in a sorted table; rows without a key come last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    last: bool,
    key: Option<String>,
    id: String,
}

impl Place {
    fn of(cursor: &Cursor) -> Self {
        Self { last: cursor.key.is_none(), key: cursor.key.clone(), id: cursor.id.clone() }
    }
}

fn text<'a>(columns: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    columns.get(field).and_then(Value::as_str)
}

/// The sort key as text whose order is the order of the values.
fn sort_key(found: &Candidate, field: &str) -> Option<String> {
    match field {
        "id" => Some(found.row.id.to_string()),
        "synced_at" => Some(format!("{:020}", found.row.synced_at.unix_timestamp_nanos() / 1000)),
        _ => match found.columns.get(field)? {
            // Shifted, so that a negative number sorts before a positive one.
            Value::Number(number) => {
                number.as_i64().map(|n| format!("{:020}", i128::from(n) + (1 << 63)))
            }
            Value::String(text) => Some(text.clone()),
            _ => None,
        },
    }
}

fn matches(found: &Candidate, query: &ItemQuery) -> bool {
    let equal = |field: &str, wanted: &str| match found.columns.get(field) {
        Some(Value::String(value)) => value == wanted,
        Some(Value::Number(value)) => value.to_string() == wanted,
        _ if field == "group" => {
            let groups = found.columns.get("groups").and_then(Value::as_array);
            groups.is_some_and(|groups| groups.iter().any(|group| group == wanted))
        }
        _ => false,
    };
    let named = |needle: &str| {
        ["env_name", "display_name", "short_domain", "domain", "name", "action"]
            .iter()
            .filter_map(|field| text(&found.columns, field))
            .any(|value| value.to_lowercase().contains(needle))
    };
    query.filters.iter().all(|(field, wanted)| equal(field, wanted))
        && query.text.as_ref().is_none_or(|wanted| named(&wanted.to_lowercase()))
}

fn mirrored(id: &ExternalId, row: &Row, verified: Option<OffsetDateTime>) -> Candidate {
    let doubtful = row.stale.is_some() || row.missing.is_some() || row.needs_validation;
    let columns = columns_of(&row.columns);
    let row = ItemRow {
        id: id.clone(),
        columns: Value::Object(columns.clone()).to_string().into(),
        payload: row.payload.clone(),
        source_version: row.source_version.to_string(),
        synced_at: if doubtful {
            row.synced_at
        } else {
            verified.map_or(row.synced_at, |at| at.max(row.synced_at))
        },
        first_seen_at: row.first_seen_at,
        stale: row.stale.is_some(),
        stale_since: row.stale.map(|(at, _)| at),
        missing_since: row.missing.map(|(at, _)| at),
        needs_validation: row.needs_validation,
    };
    Candidate { row, columns }
}

fn archived(id: &ExternalId, site: &Archived, verified: Option<OffsetDateTime>) -> Candidate {
    let Candidate { mut row, mut columns } = mirrored(id, &site.snapshot, None);
    let time = |at: Option<OffsetDateTime>| at.and_then(|at| at.format(&Rfc3339).ok());
    columns.extend([
        ("archived_at".to_owned(), json!(time(Some(site.archived_at)))),
        ("reason".to_owned(), json!(site.reason.as_str())),
        ("deleted_by".to_owned(), json!(site.deleted_by)),
        ("deleted_at".to_owned(), json!(time(site.deleted_at))),
        ("last_probe_at".to_owned(), json!(time(site.probed.map(|(at, _)| at)))),
        ("last_probe_alive".to_owned(), json!(site.probed.and_then(|(_, alive)| alive))),
        ("nodes".to_owned(), json!(site.nodes.len())),
    ]);
    row.columns = Value::Object(columns.clone()).to_string().into();
    row.synced_at = verified.map_or(site.archived_at, |at| at.max(site.archived_at));
    row.first_seen_at = site.archived_at;
    row.stale = site.unarchived_at.is_some();
    row.stale_since = site.unarchived_at;
    row.missing_since = None;
    row.needs_validation = false;
    Candidate { row, columns }
}

/// Typed columns under their names in SQL.
fn columns_of(columns: &Columns) -> Map<String, Value> {
    let time = |at: Option<OffsetDateTime>| at.and_then(|at| at.format(&Rfc3339).ok());
    let value = match columns {
        Columns::Environment(c) => json!({
            "env_name": c.env_name, "short_domain": c.short_domain, "domain": c.domain,
            "display_name": c.display_name, "status": c.status, "owner_uid": c.owner_uid,
            "creator_uid": c.creator_uid, "region": c.region, "created_on": time(c.created_on),
            "ha": c.ha, "ssl": c.ssl, "groups": c.groups,
        }),
        Columns::Node(c) => json!({
            "environment_id": c.environment.as_str(), "env_name": c.env_name, "name": c.name,
            "display_name": c.display_name, "node_group": c.node_group,
            "node_type": c.node_type, "status": c.status, "int_ip": c.int_ip,
            "ext_ips": c.ext_ips, "is_master": c.is_master, "version": c.version,
            "fixed_cloudlets": c.fixed_cloudlets, "flexible_cloudlets": c.flexible_cloudlets,
            "disk_limit_mb": c.disk_limit_mb,
        }),
        Columns::JobLog(c) => json!({
            "environment_id": c.environment.as_ref().map(ExternalId::as_str),
            "env_name": c.env_name, "action": c.action, "result": c.result,
            "started_at": time(c.started_at), "finished_at": time(c.finished_at),
            "user_uid": c.uid, "user_login": c.login,
        }),
    };
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
