//! The teams port: who is mirrored, and who takes part in the pipeline.
//!
//! Row locks are taken in the order of docs/architecture/environments-sync.md,
//! after the rollout's share lock that the triggers would take later. Whoever
//! waits for work is told by NOTIFY in the same transaction, so the word
//! arrives with the commit or not at all.

use std::collections::BTreeMap;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio_postgres::Row;
use vz_sync_actors::domain::{DataType, PlatformId, Scope, TeamId};
use vz_sync_actors::ports::signals::Signal;
use vz_sync_actors::ports::teams::{NewTeam, Overrides, Pause, Rollout, TeamView, Teams};
use vz_sync_actors::ports::{PortError, PortResult};

use super::account;
use super::call::{Work, connection, get, refused, row, rows};
use super::signals::notify;

const LIST: &str = include_str!("sql/teams.sql");
const PUT: &str = include_str!("sql/team_put.sql");
const STATES: &str = include_str!("sql/team_states.sql");
const MOVED: &str = include_str!("sql/team_moved.sql");
const INTERVALS: &str = include_str!("sql/team_intervals.sql");
const STALENESS: &str = include_str!("sql/team_staleness.sql");
const STOP: &str = include_str!("sql/team_stop.sql");
const SETTINGS_PUT: &str = include_str!("sql/team_settings_put.sql");
const DATA_TYPES: &str = include_str!("sql/team_data_types.sql");
const PAUSE: &str = include_str!("sql/team_pause.sql");
const UNPAUSE: &str = include_str!("sql/team_unpause.sql");
const RESUME: &str = include_str!("sql/team_resume.sql");
pub(super) const ROLLOUT_SET: &str = include_str!("sql/rollout_set.sql");

/// Teams in Postgres.
#[derive(Debug, Clone)]
pub struct PgTeams {
    pool: Pool,
}

impl PgTeams {
    /// Keeps them through `pool`.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Teams for PgTeams {
    async fn put(&self, team: &NewTeam) -> PortResult<TeamView> {
        if team.id.0 <= 0 {
            return Err(refused(format!("team id {}: it must be greater than 0", team.id)));
        }
        let base_url = base_url(&team.platform_url)?;
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        work.run("SELECT FROM rollout FOR SHARE", &[]).await?;
        work.run(
            "INSERT INTO vz_platforms (base_url) VALUES ($1) ON CONFLICT DO NOTHING",
            &[&base_url],
        )
        .await?;
        let platform: i64 = get(
            &work.one("SELECT id FROM vz_platforms WHERE base_url = $1", &[&base_url]).await?,
            "id",
        )?;
        let known = work
            .maybe("SELECT platform_id FROM teams WHERE id = $1 FOR NO KEY UPDATE", &[&team.id.0])
            .await?;
        let moved = match &known {
            Some(known) => get::<i64>(known, "platform_id")? != platform,
            None => false,
        };
        work.run(PUT, &[&team.id.0, &team.name, &platform, &team.same_account]).await?;
        if moved {
            // A key must never travel to a platform that it was not given for.
            work.run("DELETE FROM team_credentials WHERE team_id = $1", &[&team.id.0]).await?;
        }
        work.run(SETTINGS_PUT, &[&team.id.0, &team.cohorts]).await?;
        let scopes = Scope::ALL.map(Scope::as_str);
        work.run(STATES, &[&team.id.0, &scopes.as_slice()]).await?;
        if moved {
            if team.same_account {
                account::stop_runs(&work, team.id).await?;
            } else {
                account::start_anew(&work, team.id).await?;
            }
            work.run(MOVED, &[&team.id.0]).await?;
        }
        let types = DataType::ALL.map(DataType::as_str);
        let kept_by = DataType::ALL.map(|data_type| data_type.scope().as_str());
        work.run(DATA_TYPES, &[&team.id.0, &types.as_slice(), &kept_by.as_slice()]).await?;
        work.run(
            "INSERT INTO team_event_counters (team_id) VALUES ($1) ON CONFLICT DO NOTHING",
            &[&team.id.0],
        )
        .await?;
        notify(&work, Signal::StatesDue).await?;
        if moved {
            notify(&work, Signal::RunsChanged(team.id)).await?;
        }
        work.commit().await?;
        drop(client);
        let unknown = || PortError::NotFound(format!("team {}", team.id));
        self.get(team.id).await?.ok_or_else(unknown)
    }

    async fn get(&self, team: TeamId) -> PortResult<Option<TeamView>> {
        row(&self.pool, LIST, &[&Some(team.0)]).await?.as_ref().map(view).transpose()
    }

    async fn set_overrides(&self, team: TeamId, overrides: &Overrides) -> PortResult<bool> {
        let Overrides {
            full_interval_seconds: full,
            delta_interval_seconds: delta,
            max_allowed_staleness_seconds: ages,
        } = overrides;
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        let alive = "SELECT FROM teams WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE";
        if work.maybe(alive, &[&team.0]).await?.is_none() {
            return Ok(false);
        }
        let scopes = Scope::ALL.map(Scope::as_str);
        let (full, delta) = (seconds(&Scope::ALL, full)?, seconds(&Scope::ALL, delta)?);
        work.run(INTERVALS, &[&team.0, &scopes.as_slice(), &full, &delta]).await?;
        let types = DataType::ALL.map(DataType::as_str);
        let ages = seconds(&DataType::ALL, ages)?;
        work.run(STALENESS, &[&team.0, &types.as_slice(), &ages]).await?;
        notify(&work, Signal::StatesDue).await?;
        work.commit().await?;
        Ok(true)
    }

    async fn list(&self) -> PortResult<Vec<TeamView>> {
        rows(&self.pool, LIST, &[&None::<i64>]).await?.iter().map(view).collect()
    }

    async fn remove(&self, team: TeamId) -> PortResult<bool> {
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        let removed = work
            .run(
                "UPDATE teams SET deleted_at = now() WHERE id = $1 AND deleted_at IS NULL",
                &[&team.0],
            )
            .await?;
        if removed == 0 {
            return Ok(false);
        }
        work.run("DELETE FROM team_credentials WHERE team_id = $1", &[&team.0]).await?;
        work.run(STOP, &[&team.0]).await?;
        notify(&work, Signal::RunsChanged(team)).await?;
        work.commit().await?;
        Ok(true)
    }

    async fn set_paused(&self, team: TeamId, paused: Option<Pause>) -> PortResult<bool> {
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        let known = if let Some(Pause { by, reason }) = &paused {
            work.run(PAUSE, &[&team.0, reason, by]).await?
        } else {
            let known = work.run(UNPAUSE, &[&team.0]).await?;
            if known > 0 {
                work.run(RESUME, &[&team.0]).await?;
                notify(&work, Signal::StatesDue).await?;
            }
            known
        };
        work.commit().await?;
        Ok(known > 0)
    }

    async fn rollout(&self) -> PortResult<Rollout> {
        let sql = "SELECT enabled, everyone, team_ids, cohorts, percent FROM rollout";
        let found =
            row(&self.pool, sql, &[]).await?.ok_or_else(|| refused("there is no rollout row"))?;
        Ok(Rollout {
            enabled: get(&found, "enabled")?,
            everyone: get(&found, "everyone")?,
            teams: get::<Vec<i64>>(&found, "team_ids")?.into_iter().map(TeamId).collect(),
            cohorts: get(&found, "cohorts")?,
            percent: u8::try_from(get::<i16>(&found, "percent")?).unwrap_or(0),
        })
    }

    async fn set_rollout(&self, rollout: &Rollout, by: &str) -> PortResult<()> {
        if rollout.percent > 100 {
            return Err(refused(format!(
                "a rollout of {} %: 0 to 100 is allowed",
                rollout.percent
            )));
        }
        let teams: Vec<i64> = rollout.teams.iter().map(|team| team.0).collect();
        let mut client = connection(&self.pool).await?;
        let work = Work::begin(&mut client).await?;
        let percent = i16::from(rollout.percent);
        work.run(
            ROLLOUT_SET,
            &[
                &rollout.enabled,
                &rollout.everyone,
                &teams,
                &rollout.cohorts,
                &percent,
                &false,
                &Some(by),
            ],
        )
        .await?;
        notify(&work, Signal::StatesDue).await?;
        work.commit().await
    }
}

/// The own seconds of each, in order; null where there are none.
fn seconds<K: Ord + Copy>(all: &[K], own: &BTreeMap<K, u32>) -> PortResult<Vec<Option<i32>>> {
    let own = all.iter().map(|of| own.get(of).map(|own| i32::try_from(*own)).transpose());
    own.collect::<Result<_, _>>().map_err(|_| refused("an override of more than 68 years"))
}

fn view(row: &Row) -> PortResult<TeamView> {
    Ok(TeamView {
        id: TeamId(get(row, "id")?),
        name: get(row, "name")?,
        platform: PlatformId(get(row, "platform_id")?),
        platform_url: get(row, "base_url")?,
        owner_uid: get(row, "owner_uid")?,
        has_credentials: get(row, "has_key")?,
        paused: get(row, "paused")?,
        in_rollout: get(row, "in_rollout")?,
        overrides: serde_json::from_value(get(row, "overrides")?)
            .map_err(|error| refused(format!("overrides of a team: {error}")))?,
        created_at: get(row, "created_at")?,
    })
}

/// Scheme, host and port: the form in which a platform has one row, and in
/// which its URL is part of a seal.
fn base_url(text: &str) -> PortResult<String> {
    let bad = |why: &str| refused(format!("platform URL: {why}, e.g. https://app.hoster.example"));
    let url = reqwest::Url::parse(text.trim()).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(bad("it must be an http(s) URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it must not carry a user or password"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must end after host and port"));
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_platform_has_one_spelling() {
        for text in [
            "https://App.Hoster.example",
            " https://app.hoster.example/ ",
            "https://app.hoster.example:443",
        ] {
            assert_eq!(base_url(text).as_deref(), Ok("https://app.hoster.example"));
        }
        assert_eq!(base_url("http://127.0.0.1:8080/").as_deref(), Ok("http://127.0.0.1:8080"));
    }

    #[test]
    fn what_is_no_base_url_is_refused_without_quoting_a_password() {
        for text in [
            "",
            "app.hoster.example",
            "ftp://a",
            "https://a/x",
            "https://a?x",
            "https://u:canary@a",
        ] {
            let refused = base_url(text).expect_err(text);
            assert!(!refused.to_string().contains("canary"), "{refused}");
        }
    }
}
