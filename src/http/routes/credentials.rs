//! The platform key of a team: the Owner stores it or erases it; nobody reads
//! it.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use vz_sync_actors::domain::FailureClass;
use vz_sync_actors::new_key::{self, KeyRefused, NewKey, may_be_key};
use vz_sync_actors::ports::credentials::{OnOtherAccount, is_account_changed};

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
    if may_be_key(&text) {
        Ok(text.into())
    } else {
        Err(serde::de::Error::custom("session_key must be one word of 1 to 1024 bytes"))
    }
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
    let new = NewKey {
        team: auth.team,
        session: body.session_key,
        other: OnOtherAccount::replace_if(body.replace_account),
        by: auth.identity.subject.clone(),
    };
    let ports = &api.ports;
    let (teams, platform) = (ports.teams.as_ref(), ports.platform.as_ref());
    let account = new_key::store(teams, platform, ports.credentials.as_ref(), new).await?;
    tracing::info!(
        event = "vz_sync_credentials_set",
        team_id = auth.team.0,
        subject = auth.identity.subject,
        "a platform key was stored"
    );
    api.engine.nudge();
    Ok(Answer(CredentialsAnswer { owner_uid: account.uid }))
}

impl From<KeyRefused> for Problem {
    fn from(refused: KeyRefused) -> Self {
        let refuse = |detail: &str| Self::new(Kind::CREDENTIALS_REFUSED, detail);
        match refused {
            KeyRefused::NoKey => refuse("That cannot be a key."),
            KeyRefused::UnknownTeam(_) => Self::not_found("The team"),
            KeyRefused::NotEnabled(_) => refuse("The account behind the key is not enabled."),
            KeyRefused::Store(error) if is_account_changed(&error) => {
                let detail = "Send replace_account: true to archive the old mirror and start anew.";
                Self::new(Kind::ACCOUNT_CHANGED, detail)
            }
            KeyRefused::Store(error) => error.into(),
            KeyRefused::Platform(failure) => match failure.class {
                FailureClass::Auth | FailureClass::Capability | FailureClass::Invalid => {
                    refuse("Check the key and the account it belongs to.")
                        .with("code", failure.code)
                }
                _ => {
                    let wait = failure.retry_after.map_or(10, |wait| wait.as_secs());
                    let detail = "The key could not be checked; try again.";
                    Self::new(Kind::PLATFORM_UNAVAILABLE, detail)
                        .with("code", failure.code)
                        .retry_after(wait)
                }
            },
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
