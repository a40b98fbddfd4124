//! The events of a transaction, numbered by its last row lock.

use vz_sync_actors::domain::{EventBody, EventNo, JobId, Scope, TeamId};

use super::super::error::Fault;
use super::db::Tx;

/// Numbers and writes the events of a transaction; `bench sse` publishes with it.
pub const TELL: &str = include_str!("../sql/tell.sql");

/// One event on its way.
pub(super) struct Outgoing {
    pub(super) job: Option<JobId>,
    pub(super) scope: Scope,
    pub(super) body: EventBody,
    pub(super) trace_parent: Option<String>,
}

/// The first numbers that a transaction got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) event: EventNo,
    pub(super) change: i64,
}

/// Writes the events and reserves numbers for `changes` change rows. Takes the
/// team's counter: only statements that take no other lock may follow.
pub(super) async fn tell(
    tx: &Tx<'_>,
    team: TeamId,
    events: &[Outgoing],
    changes: i64,
) -> Result<Numbers, Fault> {
    let kinds: Vec<&str> = events.iter().map(|event| event.body.kind()).collect();
    let jobs: Vec<Option<i64>> = events.iter().map(|event| event.job.map(|job| job.0)).collect();
    let scopes: Vec<&str> = events.iter().map(|event| event.scope.as_str()).collect();
    let traces: Vec<Option<&str>> =
        events.iter().map(|event| event.trace_parent.as_deref()).collect();
    let bodies: Vec<serde_json::Value> =
        events.iter().map(|event| data(&event.body)).collect::<Result<_, _>>()?;
    let row = tx
        .row(TELL, &[&team.0, &changes, &kinds, &jobs, &scopes, &bodies, &traces])
        .await?
        .ok_or_else(|| Fault::unreadable(format!("team {team} has no event counter")))?;
    Ok(Numbers {
        event: EventNo(row.try_get("first_event")?),
        change: row.try_get("first_change")?,
    })
}

/// What stands beside `type` in the event's JSON: its type has a column.
fn data(body: &EventBody) -> Result<serde_json::Value, Fault> {
    let whole = serde_json::to_value(body).map_err(Fault::unreadable)?;
    match whole {
        serde_json::Value::Object(mut fields) => {
            Ok(fields.remove("data").unwrap_or(serde_json::Value::Null))
        }
        other => Ok(other),
    }
}
