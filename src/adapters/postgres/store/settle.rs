//! Ends of a run without a commit of data.

use std::time::Duration;

use time::OffsetDateTime;
use vz_sync_actors::domain::retry::Sustained;
use vz_sync_actors::domain::{Failure, JobState, ScopeKey};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::store::{Ending, LeaseRef, Settled, Settlement};

use super::super::error::Fault;
use super::PgStore;
use super::db::Tx;
use super::outbox::Outgoing;
use super::request::LOCK_SETTINGS;
use super::{jobs, outbox};

const PUT_OFF: &str = include_str!("../sql/put_off.sql");
const LOCK_CREDENTIALS: &str = include_str!("../sql/lock_credentials.sql");
const KEY: &str = include_str!("../sql/lock_key.sql");
const REFUSE_KEY: &str = include_str!("../sql/refuse_key.sql");

/// The key as it stands when it is refused.
struct Key {
    set_at: Option<OffsetDateTime>,
    refused_before: bool,
}

impl PgStore {
    pub(super) async fn try_settle(&self, settlement: &Settlement) -> Result<Settled, Fault> {
        let Settlement { lease, ending, sustained } = settlement;
        if let Ending::GaveUp { state, .. } = ending
            && !matches!(state, JobState::Failed | JobState::Dead)
        {
            return Err(Fault::Port(PortError::Refused {
                service: "postgres",
                message: format!(
                    "a job that gave up ends as failed or dead, not as {state}: job {}",
                    lease.job
                ),
            }));
        }
        let key = lease.key;
        let mut client = self.pools.pipeline.get().await?;
        let tx = Tx::begin(&mut client).await?;
        let mut held_key = None;
        if matches!(ending, Ending::AuthRefused { .. }) {
            held_key = Some(lock_key(&tx, key).await?);
        }
        let Some(since) = self.guard(&tx, lease).await? else { return Ok(Settled::Overtaken) };
        let event = match ending {
            Ending::Retry { failure, wait } => {
                requeue(&tx, key, false, Some(failure)).await?;
                jobs::fail_state(&tx, key, failure, Some(*wait), *sustained).await?;
                None
            }
            Ending::Postponed { reason, wait } => {
                requeue(&tx, key, true, None).await?;
                put_off(&tx, key, reason, *wait).await?;
                None
            }
            Ending::HandedBack => {
                requeue(&tx, key, true, None).await?;
                tx.notify_due().await?;
                None
            }
            Ending::GaveUp { failure, state, wait } => {
                jobs::end_lease(&tx, key).await?;
                let event = jobs::fail(&tx, key, lease.job, *state, failure).await?;
                jobs::answer_request(&tx, key, lease.job, since).await?;
                jobs::fail_state(&tx, key, failure, Some(*wait), *sustained).await?;
                Some(event)
            }
            Ending::AuthRefused { failure, probe_in } => {
                let held_key = held_key.unwrap_or(Key { set_at: None, refused_before: false });
                refuse_key(&tx, lease, failure, *probe_in, since, &held_key).await?
            }
            Ending::Cancelled { by } => {
                jobs::end_lease(&tx, key).await?;
                Some(self.cancelled(&tx, key, lease.job, by, Some(since)).await?)
            }
        };
        let event = match event {
            None => None,
            Some(event) => Some(outbox::tell(&tx, key.team, &[event], 0).await?.event),
        };
        tx.commit().await?;
        Ok(Settled::Done { event })
    }

    /// Takes the state's row if the run still has its lease; answers when the
    /// run began.
    async fn guard(&self, tx: &Tx<'_>, lease: &LeaseRef) -> Result<Option<OffsetDateTime>, Fault> {
        let row = tx
            .row(
                self.guard,
                &[
                    &lease.key.team.0,
                    &lease.key.scope.as_str(),
                    &lease.fence.0,
                    &lease.run.0,
                    &lease.job.0,
                ],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let started: Option<OffsetDateTime> = row.try_get("last_started_at")?;
        Ok(Some(started.unwrap_or(OffsetDateTime::UNIX_EPOCH)))
    }
}

async fn requeue(
    tx: &Tx<'_>,
    key: ScopeKey,
    give_attempt_back: bool,
    failure: Option<&Failure>,
) -> Result<(), Fault> {
    jobs::end_lease(tx, key).await?;
    jobs::requeue(tx, key, give_attempt_back, failure).await
}

async fn put_off(tx: &Tx<'_>, key: ScopeKey, reason: &str, wait: Duration) -> Result<(), Fault> {
    // The column knows these; another word is still a wait of the platform's.
    let reason = match reason {
        "rate_limit" | "circuit_open" => reason,
        _ => "throttled",
    };
    tx.execute(PUT_OFF, &[&key.team.0, &key.scope.as_str(), &wait.as_secs_f64(), &reason])
        .await
        .map(drop)
}

/// Credentials and settings come before any state in the order of locks: the
/// admission trigger goes on to all states of the team.
async fn lock_key(tx: &Tx<'_>, key: ScopeKey) -> Result<Key, Fault> {
    tx.rows(LOCK_CREDENTIALS, &[&key.team.0]).await?;
    tx.rows(LOCK_SETTINGS, &[&key.team.0]).await?;
    let row = tx.row(KEY, &[&key.team.0]).await?;
    Ok(match row {
        None => Key { set_at: None, refused_before: false },
        Some(row) => Key { set_at: row.try_get("set_at")?, refused_before: row.try_get("known")? },
    })
}

/// The team rests from now on. Only the transition is told: a probe that
/// fails again ends without an event.
async fn refuse_key(
    tx: &Tx<'_>,
    lease: &LeaseRef,
    failure: &Failure,
    probe_in: Duration,
    since: OffsetDateTime,
    held: &Key,
) -> Result<Option<Outgoing>, Fault> {
    let key = lease.key;
    if held.set_at.is_none_or(|at| at > since) {
        // What was refused is not the key of now: judge that one by its own run.
        requeue(tx, key, true, None).await?;
        return Ok(None);
    }
    jobs::end_lease(tx, key).await?;
    let wait = probe_in.as_secs_f64();
    tx.execute(REFUSE_KEY, &[&key.team.0, &failure.message, &wait]).await?;
    jobs::fail_state(tx, key, failure, None, Sustained::No).await?;
    if held.refused_before {
        jobs::finish(tx, key, lease.job, JobState::Obsolete, Some(failure)).await?;
        return Ok(None);
    }
    let event = jobs::fail(tx, key, lease.job, JobState::Failed, failure).await?;
    jobs::answer_request(tx, key, lease.job, since).await?;
    Ok(Some(event))
}
