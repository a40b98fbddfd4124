//! A mirrored row as JSON: typed columns beside the row's own fields, status
//! numbers in words.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use vz_sync_actors::domain::ExternalId;
use vz_sync_actors::domain::status::status;
use vz_sync_actors::ports::reads::ItemRow;

use super::problem::{Kind, Problem};

/// Nodes by environment.
pub type Nodes = HashMap<ExternalId, Vec<ItemRow>>;

#[derive(Serialize)]
struct Rendered<'a> {
    id: &'a str,
    #[serde(flatten)]
    columns: Map<String, Value>,
    source_version: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    synced_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    first_seen_at: OffsetDateTime,
    stale: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    stale_since: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    missing_since: Option<OffsetDateTime>,
    needs_validation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<Box<RawValue>>>,
}

/// Members that the row itself has; a column of the same name must not double
/// them.
const OWN: [&str; 11] = [
    "id",
    "team_id",
    "source_version",
    "synced_at",
    "first_seen_at",
    "stale",
    "stale_since",
    "missing_since",
    "needs_validation",
    "payload",
    "nodes",
];

/// One row; `nodes` are added when they were asked for.
pub fn item(row: &ItemRow, payload: bool, nodes: Option<&Nodes>) -> Result<Box<RawValue>, Problem> {
    let mut columns: Map<String, Value> =
        serde_json::from_str(&row.columns).map_err(|error| broken(&error))?;
    columns.retain(|name, _| !OWN.contains(&name.as_str()));
    if let Some(value) = columns.get_mut("status")
        && let Some(code) = value.as_i64().and_then(|code| i32::try_from(code).ok())
    {
        *value = json!(status(code));
    }
    let payload: Option<&RawValue> = if payload {
        Some(serde_json::from_str(&row.payload).map_err(|error| broken(&error))?)
    } else {
        None
    };
    let nodes = match nodes {
        Some(nodes) => {
            let rows = nodes.get(&row.id).map_or(&[][..], Vec::as_slice);
            Some(rows.iter().map(|node| item(node, false, None)).collect::<Result<_, _>>()?)
        }
        None => None,
    };
    let rendered = Rendered {
        id: row.id.as_str(),
        columns,
        source_version: &row.source_version,
        synced_at: row.synced_at,
        first_seen_at: row.first_seen_at,
        stale: row.stale,
        stale_since: row.stale_since,
        missing_since: row.missing_since,
        needs_validation: row.needs_validation,
        payload,
        nodes,
    };
    serde_json::value::to_raw_value(&rendered).map_err(|error| broken(&error))
}

/// A stored row is not the JSON that it must be.
pub fn broken(error: &dyn std::error::Error) -> Problem {
    tracing::error!(event = "http_failed", error = %error, "a stored row is not JSON");
    Problem::new(Kind::INTERNAL, "The request id finds the cause in the log.")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn row(id: &str, columns: &str) -> ItemRow {
        ItemRow {
            id: id.into(),
            columns: columns.into(),
            payload: r#"{"b":1}"#.into(),
            source_version: "ab".into(),
            synced_at: datetime!(2026-11-20 12:00 UTC),
            first_seen_at: datetime!(2026-11-19 12:00 UTC),
            stale: false,
            stale_since: None,
            missing_since: None,
            needs_validation: false,
        }
    }

    #[test]
    fn a_row_says_its_status_in_words_and_nothing_twice() {
        let nodes = Nodes::from([("e1".into(), vec![row("7", r#"{"status":77}"#)])]);
        let environment = row("e1", r#"{"id":"other","status":3,"env_name":"<b>shop</b>"}"#);
        let text = item(&environment, true, Some(&nodes)).unwrap();
        assert_eq!(text.get().matches("\"id\"").count(), 2);
        let value: Value = serde_json::from_str(text.get()).unwrap();
        assert_eq!(value["status"], json!({"code": 3, "name": "LAUNCHING", "transient": true}));
        assert_eq!(value["nodes"][0]["status"]["name"], "UNKNOWN");
        assert_eq!(value["nodes"][0]["status"]["code"], 77);
        assert_eq!((&value["id"], &value["payload"]), (&json!("e1"), &json!({"b": 1})));
        assert_eq!(value["synced_at"], "2026-11-20T12:00:00Z");
        let bare = item(&environment, false, None).unwrap();
        assert!(!bare.get().contains("payload") && !bare.get().contains("nodes"));
    }
}
