//! A scope as it stands, from one row of `scope_status.sql`.
//!
//! The columns `status` and `pending_reason` of the state are for SQL readers;
//! here the status follows from the facts by [`verdict`] alone, so that it
//! cannot lag behind them.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_postgres::Row;
use vz_sync_actors::domain::{Fence, ReplicaId, RunId, Scope, ScopeKey, TeamId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::reads::{FreshnessFacts, LeaseView, ScopeStatus};
use vz_sync_actors::ports::store::{DueTimes, Resting};

use super::job;
use crate::adapters::postgres::call::{get, moment, refused, word, word_or_null};

/// Why the team as a whole rests. What people did goes before what happened.
pub(super) fn team_resting(row: &Row) -> PortResult<Option<Resting>> {
    if !get::<bool>(row, "in_rollout")? {
        return Ok(Some(Resting::OutOfRollout));
    }
    if let Some(reason) = get(row, "team_paused")? {
        return Ok(Some(Resting::Paused(reason)));
    }
    if !get::<bool>(row, "has_key")? {
        return Ok(Some(Resting::NoCredentials));
    }
    Ok(get::<Option<String>>(row, "auth_failed")?.map(Resting::Auth))
}

/// The scope of a row; `None` for a team that has no states.
pub(super) fn read(row: &Row) -> PortResult<Option<ScopeStatus>> {
    let Some(scope) = word_or_null::<Scope>(row, "scope")? else { return Ok(None) };
    let now: OffsetDateTime = get(row, "now")?;
    let mut resting = team_resting(row)?;
    if resting.is_none() && get(row, "scope_paused")? {
        resting = Some(Resting::Paused("it failed for days; resume it to try again".to_owned()));
    }
    let lease = match get::<Option<uuid::Uuid>>(row, "lease_owner")? {
        Some(owner) => Some(LeaseView {
            owner: ReplicaId(owner),
            run: RunId(get(row, "lease_run")?),
            until: get(row, "lease_until")?,
        }),
        None => None,
    };
    let class: Option<&str> = get(row, "last_error_class")?;
    let code: Option<&str> = get(row, "last_error_code")?;
    let failures = get::<i32>(row, "failures")?.unsigned_abs();
    // One that has passed keeps nobody back.
    let not_before = moment(row, "not_before")?.filter(|moment| *moment > now);
    let circuit_open_until = moment(row, "circuit_open_until")?;
    let queued = job::read(row, "q_")?;
    let facts = Facts {
        enabled: get(row, "enabled")?,
        resting: resting.as_ref(),
        leased: lease.is_some(),
        waits_for: not_before
            .map(|_| get::<Option<&str>>(row, "not_before_reason"))
            .transpose()?
            .map(|reason| reason.unwrap_or("backoff")),
        circuit_open: circuit_open_until.is_some(),
        failing: (failures > 0).then_some(class.unwrap_or("retryable")),
        queued: queued.is_some(),
    };
    let (status, reason) = verdict(&facts);
    let stored: Option<String> = get(row, "pending_message")?;
    let message = match &resting {
        Some(Resting::Paused(why) | Resting::Auth(why)) => Some(why.clone()),
        _ => stored,
    };
    Ok(Some(ScopeStatus {
        key: ScopeKey::new(TeamId(get(row, "team_id")?), scope),
        status: status.to_owned(),
        pending_message: reason.and(message),
        pending_reason: reason.map(str::to_owned),
        due: DueTimes {
            // A state without an own time is due when asked, which is not before now.
            full: moment(row, "next_full_at")?.unwrap_or(now),
            delta: moment(row, "next_delta_at")?.unwrap_or(now),
        },
        not_before,
        requested_at: moment(row, "requested_at")?,
        dispatched_at: moment(row, "dispatched_at")?,
        queued,
        running: job::read(row, "j_")?,
        lease,
        fence: Fence(get(row, "fence")?),
        failures,
        failing_since: moment(row, "failing_since")?,
        pause_warned_at: moment(row, "pause_warned_at")?,
        last_error: class.map(|class| match code {
            Some(code) => format!("{class} {code}"),
            None => class.to_owned(),
        }),
        last_success_at: moment(row, "last_success_at")?,
        last_full_at: moment(row, "last_full_at")?,
        last_mode: word_or_null(row, "last_mode")?,
        resting,
        refused: serde_json::from_value(get(row, "capabilities")?)
            .map_err(|error| refused(format!("capabilities of {scope}: {error}")))?,
        circuit_open_until,
        now,
    }))
}

/// The freshness of a row's table; `None` for a team that has no states.
pub(super) fn freshness(row: &Row) -> PortResult<Option<FreshnessFacts>> {
    let Some(scope) = read(row)? else { return Ok(None) };
    let allowed: i32 = get(row, "allowed_seconds")?;
    Ok(Some(FreshnessFacts {
        data_type: word(row, "data_type")?,
        verified_at: moment(row, "verified_at")?,
        verified_by: word_or_null(row, "verified_by")?,
        max_allowed_staleness: Duration::from_secs(u64::from(allowed.unsigned_abs())),
        now: scope.now,
        scope,
        holds: u32::try_from(get::<i64>(row, "holds")?).unwrap_or(u32::MAX),
    }))
}

/// What decides a scope's status.
struct Facts<'a> {
    enabled: bool,
    resting: Option<&'a Resting>,
    leased: bool,
    /// The reason of a `not_before` that has not passed.
    waits_for: Option<&'a str>,
    circuit_open: bool,
    /// The class of the last error, while failures are counted.
    failing: Option<&'a str>,
    queued: bool,
}

/// The status word, and the code of what keeps the scope from going on.
fn verdict<'a>(facts: &Facts<'a>) -> (&'static str, Option<&'a str>) {
    // A run that began before the pause goes on to its end.
    if facts.leased {
        return ("running", None);
    }
    if !facts.enabled {
        return ("disabled", Some("disabled"));
    }
    match facts.resting {
        Some(Resting::OutOfRollout) => return ("disabled", Some("out_of_rollout")),
        Some(Resting::Paused(_)) => return ("paused", Some("paused")),
        Some(Resting::NoCredentials) => return ("disabled", Some("no_credentials")),
        Some(Resting::Auth(_)) => return ("error", Some("auth")),
        Some(Resting::CircuitOpen | Resting::RecentlyAsked) | None => {}
    }
    if facts.circuit_open {
        return ("throttled", Some("circuit_open"));
    }
    match (facts.waits_for, facts.failing) {
        (Some(reason @ ("throttled" | "rate_limit" | "circuit_open")), _) => {
            ("throttled", Some(reason))
        }
        (_, Some("invalid")) => ("error", Some("invalid")),
        (Some(reason), _) => ("retrying", Some(reason)),
        (None, _) if facts.queued => ("queued", None),
        (None, Some(class)) => ("retrying", Some(class)),
        (None, None) => ("idle", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Facts<'static> {
        Facts {
            enabled: true,
            resting: None,
            leased: false,
            waits_for: None,
            circuit_open: false,
            failing: None,
            queued: false,
        }
    }

    #[test]
    fn each_fact_has_its_word() {
        let paused = Resting::Paused("lunch".to_owned());
        let cases: [(Facts<'_>, &str, Option<&str>); 11] = [
            (idle(), "idle", None),
            (Facts { queued: true, ..idle() }, "queued", None),
            (Facts { leased: true, resting: Some(&paused), ..idle() }, "running", None),
            (Facts { resting: Some(&paused), queued: true, ..idle() }, "paused", Some("paused")),
            (
                Facts { resting: Some(&Resting::NoCredentials), ..idle() },
                "disabled",
                Some("no_credentials"),
            ),
            (Facts { enabled: false, ..idle() }, "disabled", Some("disabled")),
            (Facts { circuit_open: true, ..idle() }, "throttled", Some("circuit_open")),
            (Facts { waits_for: Some("rate_limit"), ..idle() }, "throttled", Some("rate_limit")),
            (
                Facts { waits_for: Some("backoff"), failing: Some("retryable"), ..idle() },
                "retrying",
                Some("backoff"),
            ),
            (
                Facts { waits_for: Some("backoff"), failing: Some("invalid"), ..idle() },
                "error",
                Some("invalid"),
            ),
            (Facts { waits_for: Some("collision"), ..idle() }, "retrying", Some("collision")),
        ];
        for (facts, status, reason) in cases {
            assert_eq!(verdict(&facts), (status, reason));
        }
    }
}
