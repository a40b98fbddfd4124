//! Requests of people and readers: durable, coalesced, limited.

use std::time::Duration;

use tokio_postgres::Row;
use vz_sync_actors::domain::{Class, JobId, Mode, Scope, TeamId};
use vz_sync_actors::ports::store::{Requested, RequestedJob, Resting, SyncRequest};

use super::super::error::Fault;
use super::PgStore;
use super::db::{Tx, class_code, word};

pub(super) const LOCK_SETTINGS: &str = include_str!("../sql/lock_settings.sql");
const REQUEST_TEAM: &str = include_str!("../sql/request_team.sql");
const TAKE_TRIGGER: &str = include_str!("../sql/take_trigger.sql");
const REQUEST_SCOPES: &str = include_str!("../sql/request_scopes.sql");
const POSITIONS: &str = include_str!("../sql/positions.sql");
const REMEMBER: &str = include_str!("../sql/remember.sql");

impl PgStore {
    pub(super) async fn try_request(&self, ask: &SyncRequest) -> Result<Requested, Fault> {
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        let by_people = ask.class == Class::Manual;
        if by_people {
            tx.rows(LOCK_SETTINGS, &[&ask.team.0]).await?;
        }
        let idempotency_key = ask.idempotency.as_ref().map(|idempotency| idempotency.key.as_str());
        let scopes: Vec<&str> = ask.scopes.iter().map(|scope| scope.as_str()).collect();
        let binds = self.settings.idempotency.as_secs_f64();
        let facts = tx.row(REQUEST_TEAM, &[&ask.team.0, &idempotency_key, &scopes, &binds]).await?;
        let Some(facts) = facts else { return Ok(Requested::UnknownTeam) };
        if !facts.try_get::<_, bool>("known")? {
            return Ok(Requested::UnknownTeam);
        }
        if let Some(earlier) = earlier_answer(ask, &facts)? {
            return Ok(earlier);
        }
        if let Some(resting) = resting(&facts)? {
            return Ok(Requested::Resting(resting));
        }
        if !by_people && facts.try_get("circuit_open")? {
            return Ok(Requested::Resting(Resting::CircuitOpen));
        }
        if let (true, Some(per_minute)) = (by_people, ask.per_minute) {
            let (left, ago) = (facts.try_get("trigger_tokens")?, facts.try_get("refilled_ago")?);
            match take_token(per_minute, left, ago) {
                Ok(left) => {
                    tx.execute(TAKE_TRIGGER, &[&ask.team.0, &left]).await?;
                }
                Err(retry_in) => return Ok(Requested::TooMany { retry_in }),
            }
        }
        let jobs = note(&tx, ask, &scopes).await?;
        if jobs.is_empty() {
            return Ok(Requested::Resting(self.why_none(&tx, ask).await?));
        }
        if let Some(idempotency) = &ask.idempotency {
            let answer = serde_json::to_value(&jobs).map_err(Fault::unreadable)?;
            let hash = idempotency.body_hash.as_slice();
            tx.execute(REMEMBER, &[&ask.team.0, &idempotency.key, &hash, &answer]).await?;
        }
        tx.notify_due().await?;
        tx.commit().await?;
        Ok(Requested::Accepted(jobs))
    }

    /// No scope took the request: each one is switched off, paused by itself,
    /// or was asked for a moment ago.
    async fn why_none(&self, tx: &Tx<'_>, ask: &SyncRequest) -> Result<Resting, Fault> {
        let scopes: Vec<&str> = ask.scopes.iter().map(|scope| scope.as_str()).collect();
        let states =
            "SELECT enabled, paused_at IS NOT NULL AS paused, pending_message FROM vz_sync_states
             WHERE team_id = $1 AND scope = ANY ($2::text[]) ORDER BY scope";
        let rows = tx.rows(states, &[&ask.team.0, &scopes]).await?;
        let mut why = Resting::OutOfRollout;
        for row in &rows {
            if row.try_get("paused")? {
                let message: Option<String> = row.try_get("pending_message")?;
                why = Resting::Paused(message.unwrap_or_default());
            } else if row.try_get("enabled")? {
                return Ok(Resting::RecentlyAsked);
            }
        }
        Ok(why)
    }
}

async fn note(tx: &Tx<'_>, ask: &SyncRequest, scopes: &[&str]) -> Result<Vec<RequestedJob>, Fault> {
    let rows = tx
        .rows(
            REQUEST_SCOPES,
            &[
                &ask.team.0,
                &scopes,
                &class_code(ask.class),
                &ask.mode.map(Mode::as_str),
                &ask.environments,
                &ask.requested_by,
                &ask.trace_parent,
                &ask.demand_interval.as_secs_f64(),
            ],
        )
        .await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in &rows {
        jobs.push(RequestedJob {
            scope: word(row, "scope")?,
            job_id: JobId(row.try_get("id")?),
            position: 0,
            coalesced: row.try_get("coalesced")?,
        });
    }
    let ids: Vec<i64> = jobs.iter().map(|job| job.job_id.0).collect();
    for row in tx.rows(POSITIONS, &[&ids]).await? {
        let (id, position): (i64, i64) = (row.try_get("id")?, row.try_get("position")?);
        if let Some(job) = jobs.iter_mut().find(|job| job.job_id.0 == id) {
            job.position = position as u64;
        }
    }
    // In the order that was asked for.
    let place = |scope: Scope| ask.scopes.iter().position(|asked| *asked == scope);
    jobs.sort_by_key(|job| place(job.scope));
    Ok(jobs)
}

fn earlier_answer(ask: &SyncRequest, facts: &Row) -> Result<Option<Requested>, Fault> {
    let Some(idempotency) = &ask.idempotency else { return Ok(None) };
    let Some(hash) = facts.try_get::<_, Option<&[u8]>>("body_hash")? else { return Ok(None) };
    if hash != idempotency.body_hash {
        return Ok(Some(Requested::IdempotencyConflict));
    }
    let response: serde_json::Value = facts.try_get("response")?;
    serde_json::from_value(response)
        .map(|jobs| Some(Requested::Accepted(jobs)))
        .map_err(Fault::unreadable)
}

fn resting(facts: &Row) -> Result<Option<Resting>, Fault> {
    if !facts.try_get::<_, bool>("in_rollout")? {
        return Ok(Some(Resting::OutOfRollout));
    }
    if facts.try_get("paused")? {
        let reason: Option<String> = facts.try_get("paused_reason")?;
        return Ok(Some(Resting::Paused(reason.unwrap_or_default())));
    }
    if !facts.try_get::<_, bool>("has_key")? {
        return Ok(Some(Resting::NoCredentials));
    }
    if facts.try_get("auth_failed")? {
        let reason: Option<String> = facts.try_get("auth_failed_reason")?;
        return Ok(Some(Resting::Auth(reason.unwrap_or_default())));
    }
    Ok(None)
}

/// Takes one token of a bucket that holds a minute's worth; answers what is
/// left, or when there will be one.
fn take_token(
    per_minute: u32,
    left: Option<f32>,
    refilled_ago: Option<f64>,
) -> Result<f64, Duration> {
    let (full, per_second) = (f64::from(per_minute), f64::from(per_minute) / 60.0);
    let tokens = match (left, refilled_ago) {
        (Some(left), Some(ago)) => (f64::from(left) + ago.max(0.0) * per_second).min(full),
        _ => full,
    };
    // The column has seven digits: a hair below one is one.
    if tokens + 1e-4 < 1.0 {
        let missing = (1.0 - tokens) / per_second;
        return Err(Duration::try_from_secs_f64(missing).unwrap_or(Duration::from_secs(60)));
    }
    Ok((tokens - 1.0).max(0.0))
}

/// A request that names one scope, as an operator makes it.
pub(super) fn by_operator(team: TeamId, scope: Scope, by: &str) -> SyncRequest {
    SyncRequest {
        team,
        scopes: vec![scope],
        class: Class::Manual,
        mode: None,
        environments: Vec::new(),
        requested_by: by.to_owned(),
        trace_parent: None,
        demand_interval: Duration::ZERO,
        idempotency: None,
        per_minute: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_minutes_worth_and_then_waits() {
        assert_eq!(take_token(2, None, None), Ok(1.0));
        assert_eq!(take_token(2, Some(1.0), Some(0.0)), Ok(0.0));
        assert_eq!(take_token(2, Some(0.0), Some(0.0)), Err(Duration::from_secs(30)));
        assert_eq!(take_token(2, Some(0.0), Some(30.0)), Ok(0.0));
        assert_eq!(take_token(2, Some(0.0), Some(3600.0)), Ok(1.0));
        assert_eq!(take_token(0, None, None), Err(Duration::from_secs(60)));
    }
}
