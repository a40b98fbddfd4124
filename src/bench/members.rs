//! The teams of a bench, and whose accounts their tokens open.

use anyhow::{Context as _, Result, bail};
use futures_util::stream::{self, TryStreamExt as _};
use secrecy::SecretString;
use vz_sync_actors::domain::{FailureClass, TeamId};
use vz_sync_actors::ports::credentials::{Access, OnOtherAccount};
use vz_sync_actors::ports::teams::{NewTeam, TeamView};

use super::platform::uid;
use crate::boot::Adapters;
use crate::simulator::{DEFAULT_TOKEN_TEMPLATE, numbered_token};

/// Teams added at once.
const AT_ONCE: usize = 8;

/// A team to measure with.
pub struct Member {
    /// Its number.
    pub team: TeamId,
    /// What opens its account.
    pub token: SecretString,
    /// Whose account that is; without it the platform is asked.
    pub owner_uid: Option<i64>,
}

impl Member {
    /// The team of a simulated account, both counted from 1.
    pub fn simulated(number: usize) -> Self {
        Self {
            team: TeamId(number as i64),
            token: numbered_token(DEFAULT_TOKEN_TEMPLATE, number).into(),
            owner_uid: Some(uid(number)),
        }
    }
}

/// Adds teams with their keys; then all of them are due.
pub async fn add(adapters: &Adapters, platform_url: &str, members: Vec<Member>) -> Result<()> {
    // Before the engine's first heartbeat the limiter grants nothing.
    adapters.ports.limiter.share(1);
    stream::iter(members.into_iter().map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |member| add_one(adapters, platform_url, member))
        .await
        .context("the teams cannot be added")
}

async fn add_one(adapters: &Adapters, platform_url: &str, member: Member) -> Result<()> {
    let Member { team, token, owner_uid } = member;
    let view = put(adapters, platform_url, team).await?;
    let owner = match owner_uid {
        Some(uid) => Some(uid),
        None => account(adapters, &view, token.clone()).await?,
    };
    let credentials = &adapters.ports.credentials;
    credentials.replace(team, token, owner.unwrap_or_default(), OnOtherAccount::Replace).await?;
    if owner.is_none() {
        // All that the platform lists is then taken for the team's own.
        let client = adapters.pools.pipeline.get().await?;
        client.execute("UPDATE teams SET owner_uid = NULL WHERE id = $1", &[&team.0]).await?;
    }
    Ok(())
}

async fn put(adapters: &Adapters, platform_url: &str, team: TeamId) -> Result<TeamView> {
    let new = NewTeam {
        id: team,
        name: format!("Team {team}"),
        platform_url: platform_url.to_owned(),
        cohorts: Vec::new(),
    };
    Ok(adapters.teams.put(&new).await?)
}

/// Whose account a token opens; `None` when the platform has no answer to that question.
async fn account(
    adapters: &Adapters,
    view: &TeamView,
    session: SecretString,
) -> Result<Option<i64>> {
    let access = Access {
        platform: view.platform,
        base_url: view.platform_url.clone(),
        team: view.id,
        owner_uid: None,
        session,
    };
    match adapters.ports.platform.account(&access).await {
        Ok(account) => Ok(Some(account.uid)),
        Err(failure) if failure.class == FailureClass::Auth => {
            bail!("the platform refuses the token of team {}: {failure}", view.id)
        }
        Err(failure) => {
            tracing::warn!(event = "bench_owner_unknown", team_id = view.id.0, error = %failure.message, "the platform does not say whose account a token opens");
            Ok(None)
        }
    }
}

/// From where a platform counts its tokens: 0 when the template's token of 0 opens an account,
/// else 1, as the simulator does.
pub async fn first_number(
    adapters: &Adapters,
    platform_url: &str,
    template: &str,
) -> Result<usize> {
    adapters.ports.limiter.share(1);
    let view = put(adapters, platform_url, TeamId(1)).await?;
    let token = numbered_token(template, 0).into();
    let opened = account(adapters, &view, token).await;
    Ok(usize::from(!matches!(opened, Ok(Some(_)))))
}
