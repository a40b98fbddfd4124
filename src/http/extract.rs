//! What a request carries, read strictly, with a problem for what does not fit.
//!
//! [`AuthorizedTeam`] is the only way to a team's data: it alone makes a
//! `TeamId` from a path, after the token has been asked. Everything refused
//! here is logged as `auth_violation` and counted.

use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use vz_sync_actors::domain::TeamId;

use super::auth::{Denied, Identity, Permission, Refusal, Role};
use super::problem::{Kind, Problem};
use super::state::ApiState;

/// What a route asks of the role.
pub trait Needs: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

/// Reading the mirror, the jobs and the events.
pub struct Read;
/// Triggers, pause and resume, held removals.
pub struct Manage;
/// The platform key.
pub struct Key;

impl Needs for Read {
    const PERMISSION: Permission = Permission::Read;
}
impl Needs for Manage {
    const PERMISSION: Permission = Permission::TeamManage;
}
impl Needs for Key {
    const PERMISSION: Permission = Permission::Credentials;
}

/// A person with a good token, whatever their teams.
pub struct Caller(pub Identity);

/// A person who may do `P` in the team of the path.
pub struct AuthorizedTeam<P> {
    /// The team.
    pub team: TeamId,
    /// Who asks.
    pub identity: Identity,
    /// As what.
    pub role: Role,
    needs: PhantomData<P>,
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        identify(parts, api).map(Self)
    }
}

impl<P: Needs> FromRequestParts<ApiState> for AuthorizedTeam<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let identity = identify(parts, api)?;
        let team = PathIds::from_request_parts(parts, api).await?.number("team_id")?;
        match identity.authorize(team, P::PERMISSION) {
            Ok(role) => Ok(Self { team: TeamId(team), identity, role, needs: PhantomData }),
            Err(denied) => {
                violation(api, denied.reason());
                let role = match denied {
                    Denied::Forbidden { role, .. } => role.to_string(),
                    Denied::Stranger => String::new(),
                };
                tracing::warn!(
                    event = "auth_violation",
                    reason = denied.reason(),
                    team_id = team,
                    subject = identity.subject,
                    role,
                    permission = %P::PERMISSION,
                    method = %parts.method,
                    "a request was refused"
                );
                Err(denied.into())
            }
        }
    }
}

fn identify(parts: &Parts, api: &ApiState) -> Result<Identity, Problem> {
    let text = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or(""));
    let verified = match &api.verifier {
        Some(verifier) => verifier.verify_header(text),
        None => Err(Refusal::Missing),
    };
    verified.map_err(|refusal| {
        violation(api, refusal.reason());
        tracing::warn!(
            event = "auth_violation",
            reason = refusal.reason(),
            method = %parts.method,
            "a request was refused"
        );
        refusal.into()
    })
}

fn violation(api: &ApiState, reason: &str) {
    api.metrics.auth_violations.with_label_values(&[reason]).inc();
}

/// The named parts of a path, decoded.
pub struct PathIds(Vec<(String, String)>);

impl PathIds {
    /// A part as text of at most 256 bytes without control characters.
    pub fn text(&self, name: &str) -> Result<&str, Problem> {
        let (_, text) =
            self.0.iter().find(|(key, _)| key == name).ok_or_else(|| {
                Problem::new(Kind::INVALID_ID, format!("The path has no {name}."))
            })?;
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            let detail = format!("{name} must be 1 to 256 bytes without control characters.");
            return Err(Problem::new(Kind::INVALID_ID, detail));
        }
        Ok(text)
    }

    /// A part as a number above zero, in its only spelling.
    pub fn number(&self, name: &str) -> Result<i64, Problem> {
        let text = self.text(name)?;
        text.parse::<i64>().ok().filter(|n| *n > 0 && n.to_string() == text).ok_or_else(|| {
            Problem::new(Kind::INVALID_ID, format!("{name} must be a whole number above zero."))
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathIds {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|_| {
            Problem::new(Kind::INVALID_ID, "The path holds bytes that are not UTF-8.")
        })?;
        Ok(Self(raw.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()))
    }
}

/// A query string as `T`, which refuses unknown fields.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => Err(Problem::new(Kind::INVALID_QUERY, reason(&rejection))),
        }
    }
}

/// The innermost cause, which names the field; cut, since it may quote input.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A JSON body as `T`, which refuses unknown fields. An empty body is `T`'s
/// default where there is one: see [`OptionalJson`].
pub struct Json<T>(pub T);

/// As [`Json`], with an empty body standing for the default.
pub struct OptionalJson<T>(pub T, pub Bytes);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let body = Bytes::from_request(request, state).await?;
        if !json {
            return Err(not_json());
        }
        parse(&body).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let body = Bytes::from_request(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default(), body));
        }
        if !json {
            return Err(not_json());
        }
        Ok(Self(parse(&body)?, body))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn not_json() -> Problem {
    Problem::new(Kind::MEDIA_TYPE, "Send `Content-Type: application/json`.")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // Syntax is told by place alone; a data error names the field.
        let detail = if error.is_data() {
            reason(&error)
        } else {
            format!("Not JSON at line {} column {}.", error.line(), error.column())
        };
        Problem::new(Kind::INVALID_BODY, detail)
    })
}
