//! Refusals as RFC 9457 problems: stable types, fixed titles, no internals.
//!
//! The detail is written here or by a handler, never by a library: an error
//! text of a driver may quote a query or an address.

use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use vz_sync_actors::ports::PortError;

use super::auth::{Denied, Refusal};

/// Media type of every refusal.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, as far as a program cares. The name is part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Last part of the type URI.
    pub name: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// The same for people; the same for every occurrence.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $status:ident, $title:literal;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $constant: Self =
                Self { name: $name, status: StatusCode::$status, title: $title };)*

            /// Every kind there is, for the documentation.
            pub const ALL: &[Self] = &[$(Self::$constant),*];
        }
    };
}

kinds! {
    /// The query string holds something that the route does not know.
    INVALID_QUERY = "invalid-query", BAD_REQUEST, "The query is not valid";
    /// An id in the path is not one.
    INVALID_ID = "invalid-id", BAD_REQUEST, "The identifier is not valid";
    /// A header cannot be used.
    INVALID_HEADER = "invalid-header", BAD_REQUEST, "A header is not valid";
    /// The request cannot be read at all.
    BAD_REQUEST = "bad-request", BAD_REQUEST, "The request is not valid";
    /// No token, or not a good one.
    UNAUTHENTICATED = "unauthenticated", UNAUTHORIZED, "A valid bearer token is needed";
    /// The role is not enough.
    FORBIDDEN = "forbidden", FORBIDDEN, "The role does not allow this";
    /// No such route, team or thing; or a stranger asks.
    NOT_FOUND = "not-found", NOT_FOUND, "There is no such thing";
    /// Another method than the route has.
    METHOD_NOT_ALLOWED = "method-not-allowed", METHOD_NOT_ALLOWED, "The route has no such method";
    /// The client took too long, or the answer did.
    TIMEOUT = "timeout", REQUEST_TIMEOUT, "The request took too long";
    /// The thing is in a state that does not allow this.
    CONFLICT = "conflict", CONFLICT, "The present state does not allow this";
    /// The key belongs to another account than the mirror does.
    ACCOUNT_CHANGED = "account-changed", CONFLICT, "The key belongs to another account";
    /// The team takes no part in the pipeline.
    OUT_OF_ROLLOUT = "out-of-rollout", CONFLICT, "The pipeline is off for this team";
    /// The team is paused.
    PAUSED = "paused", CONFLICT, "The team is paused";
    /// There is no platform key.
    NO_CREDENTIALS = "no-credentials", CONFLICT, "No platform key is stored";
    /// The platform refuses the key that is stored.
    KEY_REFUSED = "key-refused", CONFLICT, "The platform refuses the stored key";
    /// The history does not reach back that far.
    GONE = "past-retention", GONE, "The history does not reach back that far";
    /// The body is larger than allowed.
    TOO_LARGE = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not JSON by its own account.
    MEDIA_TYPE = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// The body is JSON, but not what the route takes.
    INVALID_BODY = "invalid-body", UNPROCESSABLE_ENTITY, "The body is not valid";
    /// The idempotency key was used with another body.
    IDEMPOTENCY = "idempotency-conflict", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used with another body";
    /// The platform refuses the key that was sent.
    CREDENTIALS_REFUSED = "credentials-refused", UNPROCESSABLE_ENTITY, "The platform refuses the key";
    /// Too many of these.
    TOO_MANY = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests";
    /// A fault of ours.
    INTERNAL = "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
    /// Something that is needed does not answer.
    UNAVAILABLE = "unavailable", SERVICE_UNAVAILABLE, "Not available at the moment";
    /// The platform does not answer.
    PLATFORM_UNAVAILABLE = "platform-unavailable", BAD_GATEWAY, "The platform does not answer";
}

impl Kind {
    /// The type URI, the same for ever.
    pub fn uri(&self) -> String {
        format!("urn:vz-sync:problem:{}", self.name)
    }
}

/// One refusal. Boxed, since it travels in the `Err` of every handler.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    kind: Kind,
    detail: String,
    retry_after: Option<u64>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A refusal with words for the one who asked.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (detail, extra) = (detail.into(), Map::new());
        Self(Box::new(Inner { kind, detail, retry_after: None, extra, headers: Vec::new() }))
    }

    /// There is no such thing, or the asker must not know of it.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NOT_FOUND, format!("{what} does not exist, or not for you"))
    }

    /// Tells when to ask again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds.max(1));
        self
    }

    /// Adds a member for programs.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// What for.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The best kind for a bare status that a library chose.
    pub fn from_status(status: StatusCode) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => Kind::UNAUTHENTICATED,
            StatusCode::FORBIDDEN => Kind::FORBIDDEN,
            StatusCode::NOT_FOUND => Kind::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => Kind::METHOD_NOT_ALLOWED,
            StatusCode::REQUEST_TIMEOUT => Kind::TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY => Kind::INVALID_BODY,
            StatusCode::TOO_MANY_REQUESTS => Kind::TOO_MANY,
            StatusCode::SERVICE_UNAVAILABLE => Kind::UNAVAILABLE,
            status if status.is_client_error() => Kind { status, ..Kind::BAD_REQUEST },
            _ => Kind::INTERNAL,
        };
        let detail = match kind {
            Kind::NOT_FOUND => "There is no such route.",
            Kind::METHOD_NOT_ALLOWED => "The Allow header names the methods of this route.",
            _ => "The request was refused before it reached its route.",
        };
        Self::new(kind, detail)
    }

    /// The document; the request id is known only to the outermost layer.
    fn document(&self, request_id: Option<&str>) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("type".into(), self.0.kind.uri().into());
        body.insert("title".into(), self.0.kind.title.into());
        body.insert("status".into(), self.0.kind.status.as_u16().into());
        body.insert("detail".into(), self.0.detail.clone().into());
        if let Some(id) = request_id {
            body.insert("request_id".into(), id.into());
        }
        if let Some(seconds) = self.0.retry_after {
            body.insert("retry_after_seconds".into(), seconds.into());
        }
        body.extend(self.0.extra.clone());
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The response, with the id under which the log knows the request.
    pub fn respond(self, request_id: Option<&str>) -> Response {
        let mut response = (self.0.kind.status, self.document(request_id)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.0.kind == Kind::UNAUTHENTICATED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.extend(self.0.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }

    /// Gives the document of a refusal that comes up from a route its request
    /// id, and turns bare refusals of libraries into documents.
    pub fn complete(response: Response, request_id: &str) -> Response {
        let status = response.status();
        if !(status.is_client_error() || status.is_server_error()) {
            return response;
        }
        if let Some(problem) = response.extensions().get::<Self>() {
            return problem.clone().respond(Some(request_id));
        }
        let mut problem = Self::from_status(status);
        for name in [header::ALLOW, header::RETRY_AFTER] {
            if let Some(value) = response.headers().get(&name) {
                problem.0.headers.push((name, value.clone()));
            }
        }
        problem.respond(Some(request_id))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(None)
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        match &error {
            PortError::NotFound(_) => Self::not_found("It"),
            error if error.is_transient() => {
                tracing::warn!(event = "http_unavailable", error = %error, "a request found no answer");
                Self::new(Kind::UNAVAILABLE, "A server behind this one does not answer; try again.")
                    .retry_after(2)
            }
            error => {
                tracing::error!(event = "http_failed", error = %error, "a request failed");
                Self::new(Kind::INTERNAL, "The request id finds the cause in the log.")
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        // More would tell a forger which part to work on.
        let detail = match refusal {
            Refusal::Missing => "Send the token as `Authorization: Bearer ...`.",
            Refusal::Expired => "The token has expired; get a new one.",
            _ => "The token was not accepted.",
        };
        Self::new(Kind::UNAUTHENTICATED, detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Stranger => Self::not_found("The team"),
            Denied::Forbidden { role, permission } => {
                Self::new(Kind::FORBIDDEN, format!("The role {role} lacks {permission}."))
                    .with("role", role.to_string())
                    .with("permission", permission.to_string())
            }
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::from_status(rejection.status())
    }
}

/// The shape of every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// Stable, e.g. `urn:vz-sync:problem:not-found`.
    pub r#type: String,
    /// In words; the same for every occurrence of the type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What to do about it.
    pub detail: String,
    /// Under which the log knows the request.
    pub request_id: Option<String>,
    /// When to ask again, in seconds.
    pub retry_after_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_uri() {
        let names: HashSet<_> = Kind::ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(kind.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind:?}");
            assert!(kind.status.is_client_error() || kind.status.is_server_error(), "{kind:?}");
        }
    }

    #[test]
    fn a_port_error_shows_nothing_of_the_inside() {
        let error = PortError::Refused { service: "postgres", message: "SELECT secret".into() };
        let body = String::from_utf8(Problem::from(error).document(Some("r1"))).unwrap();
        assert!(!body.contains("SELECT") && !body.contains("postgres"), "{body}");
        assert!(body.contains("\"request_id\":\"r1\""), "{body}");
    }
}
