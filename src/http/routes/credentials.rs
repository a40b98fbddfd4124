//! The platform key of a team: the Owner stores it or erases it; nobody reads
//! it.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use vz_sync_actors::domain::{Failure, FailureClass};
use vz_sync_actors::ports::credentials::{Access, OnOtherAccount, is_account_changed};

use crate::http::extract::{AuthorizedTeam, Json, Key};
use crate::http::problem::{Kind, Problem, ProblemDocument};
use crate::http::state::ApiState;

/// A key to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsBody {
    /// Session key or personal access token of the account that owns the environments.
    #[schema(value_type = String, min_length = 1, max_length = 1024, write_only)]
    #[serde(deserialize_with = "secret")]
    session_key: SecretString,
    /// Accept a key of another account: the old mirror is archived.
    #[serde(default)]
    replace_account: bool,
}

// secrecy's own serde support would also be a way to write secrets out again.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
        let want = "session_key must be 1 to 1024 bytes without control characters";
        return Err(serde::de::Error::custom(want));
    }
    Ok(text.into())
}

/// What is known of the stored key.
#[derive(Serialize, ToSchema)]
pub struct CredentialsAnswer {
    /// The account it belongs to.
    owner_uid: i64,
}

/// Store the platform key
///
/// Checked against the platform first, then sealed; never returned. Every scope is due at once.
#[utoipa::path(
    put, path = "/teams/{team_id}/vz-credentials", tag = "credentials",
    security(("bearer" = ["team.credentials"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1)),
    request_body = CredentialsBody,
    responses(
        (status = 200, body = CredentialsAnswer),
        (status = 409, description = "The key belongs to another account", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "The platform refuses the key", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 502, description = "The platform does not answer", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Key>,
    Json(body): Json<CredentialsBody>,
) -> Result<Answer<CredentialsAnswer>, Problem> {
    let teams = api.ports.teams.list().await?;
    let team = teams.into_iter().find(|team| team.id == auth.team);
    let team = team.ok_or_else(|| Problem::not_found("The team"))?;
    let access = Access {
        platform: team.platform,
        base_url: team.platform_url,
        team: auth.team,
        owner_uid: team.owner_uid,
        session: body.session_key,
    };
    let account = api.ports.platform.account(&access).await.map_err(|failure| refused(&failure))?;
    if !account.enabled {
        let detail = "The account behind the key is not enabled.";
        return Err(Problem::new(Kind::CREDENTIALS_REFUSED, detail));
    }
    if team.owner_uid.is_some_and(|uid| uid != account.uid) && !body.replace_account {
        return Err(account_changed());
    }
    let other = OnOtherAccount::replace_if(body.replace_account);
    let stored = api.ports.credentials.replace(auth.team, access.session, account.uid, other).await;
    // The store has the last word: another key may have come in between.
    stored.map_err(
        |error| {
            if is_account_changed(&error) { account_changed() } else { error.into() }
        },
    )?;
    tracing::info!(
        event = "vz_sync_credentials_set",
        team_id = auth.team.0,
        subject = auth.identity.subject,
        "a platform key was stored"
    );
    api.engine.nudge();
    Ok(Answer(CredentialsAnswer { owner_uid: account.uid }))
}

fn account_changed() -> Problem {
    let detail = "Send replace_account: true to archive the old mirror and start anew.";
    Problem::new(Kind::ACCOUNT_CHANGED, detail)
}

fn refused(failure: &Failure) -> Problem {
    match failure.class {
        FailureClass::Auth | FailureClass::Capability | FailureClass::Invalid => {
            Problem::new(Kind::CREDENTIALS_REFUSED, "Check the key and the account it belongs to.")
                .with("code", failure.code.clone())
        }
        _ => {
            let wait = failure.retry_after.map_or(10, |wait| wait.as_secs());
            Problem::new(Kind::PLATFORM_UNAVAILABLE, "The key could not be checked; try again.")
                .with("code", failure.code.clone())
                .retry_after(wait)
        }
    }
}

/// Erase the platform key
///
/// The team rests; what is mirrored is still served.
#[utoipa::path(
    delete, path = "/teams/{team_id}/vz-credentials", tag = "credentials",
    security(("bearer" = ["team.credentials"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1)),
    responses((status = 204, description = "Erased")),
)]
pub async fn delete(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Key>,
) -> Result<StatusCode, Problem> {
    api.ports.credentials.erase(auth.team).await?;
    tracing::info!(
        event = "vz_sync_credentials_erased",
        team_id = auth.team.0,
        subject = auth.identity.subject,
        "a platform key was erased"
    );
    Ok(StatusCode::NO_CONTENT)
}
