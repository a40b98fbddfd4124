//! Bearer tokens: verified with everything pinned, and minted for development.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    errors::ErrorKind, get_current_timestamp,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::claims::Claims;
use super::{Identity, Refusal, Role};
use crate::config::Auth;

/// Longer tokens are refused unread.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// HS256 is as strong as its secret; shorter than the hash it would be guessable.
pub const MIN_SECRET_BYTES: usize = 32;

/// Who checks tokens. One way per deployment; a key set fetched from an issuer
/// becomes another variant, and callers stay as they are.
#[derive(Clone)]
pub enum Verifier {
    /// HS256 with a secret shared with the dashboard.
    Hs256(Hs256),
}

impl Verifier {
    /// From the configuration; `None` when it names no secret, so nobody gets in.
    pub fn from_config(auth: &Auth) -> Option<Self> {
        auth.jwt_secret.as_ref().map(|secret| Self::Hs256(Hs256::new(auth, secret)))
    }

    /// Checks a token without its `Bearer ` prefix.
    pub fn verify(&self, token: &str) -> Result<Identity, Refusal> {
        match self {
            Self::Hs256(checker) => checker.verify(token),
        }
    }

    /// Checks an `Authorization` header.
    pub fn verify_header(&self, header: Option<&str>) -> Result<Identity, Refusal> {
        self.verify(bearer(header)?)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hs256(_) => f.write_str("Verifier::Hs256(redacted)"),
        }
    }
}

/// The token of an `Authorization: Bearer` header; the scheme in any case.
pub(super) fn bearer(header: Option<&str>) -> Result<&str, Refusal> {
    let (scheme, token) = header.and_then(|h| h.split_once(' ')).ok_or(Refusal::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(Refusal::Missing);
    }
    Ok(token.trim())
}

/// The HS256 checker: key and rules, prepared once.
#[derive(Clone)]
pub struct Hs256 {
    key: DecodingKey,
    rules: Validation,
}

impl Hs256 {
    fn new(auth: &Auth, secret: &SecretString) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = auth.leeway_seconds.0;
        rules.validate_nbf = true;
        rules.set_issuer(&[&auth.issuer]);
        rules.set_audience(&[&auth.audience]);
        // The library checks issuer and audience only where they are present.
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self { key: DecodingKey::from_secret(secret.expose_secret().as_bytes()), rules }
    }

    fn verify(&self, token: &str) -> Result<Identity, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        check_header(token)?;
        let claims = decode::<Claims>(token, &self.key, &self.rules)
            .map_err(|error| refusal(&error))?
            .claims;
        if claims.sub.is_empty() || claims.sub.len() > 256 {
            return Err(Refusal::Claims);
        }
        Ok(Identity {
            expires_at: claims.exp.seconds(),
            subject: claims.sub,
            teams: claims.teams.0,
        })
    }
}

/// What the library does not look at. `jku`, `x5u`, `jwk` and `kid` are ignored on
/// purpose: the key is ours, whatever a token says.
fn check_header(token: &str) -> Result<(), Refusal> {
    let header = decode_header(token).map_err(|error| match error.kind() {
        // "none" and unknown algorithms fail while the header is read.
        ErrorKind::Json(_) if names_an_algorithm(token) => Refusal::Algorithm,
        _ => Refusal::Malformed,
    })?;
    if header.alg != Algorithm::HS256 {
        return Err(Refusal::Algorithm);
    }
    let typ_fits = header
        .typ
        .as_deref()
        .is_none_or(|typ| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"));
    if !typ_fits || header.crit.is_some() || header.enc.is_some() {
        return Err(Refusal::Type);
    }
    Ok(())
}

fn names_an_algorithm(token: &str) -> bool {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap_or_default();
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok())
        .is_some_and(|header| header.get("alg").is_some_and(Value::is_string))
}

fn refusal(error: &jsonwebtoken::errors::Error) -> Refusal {
    match error.kind() {
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Refusal::Algorithm,
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::NotYetValid,
        ErrorKind::InvalidIssuer => Refusal::Issuer,
        ErrorKind::InvalidAudience => Refusal::Audience,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidSubject
        | ErrorKind::Json(_) => Refusal::Claims,
        _ => Refusal::Malformed,
    }
}

/// Makes tokens for development and the demo. A deployment's tokens come from the
/// dashboard that shares the secret.
pub struct Minter {
    key: EncodingKey,
    issuer: String,
    audience: String,
}

impl Minter {
    /// From the configuration; `None` when it names no secret.
    pub fn from_config(auth: &Auth) -> Option<Self> {
        auth.jwt_secret.as_ref().map(|secret| Self {
            key: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
        })
    }

    /// A token that starts at `now` (Unix seconds) and lives `ttl_seconds`.
    pub fn mint(
        &self,
        subject: &str,
        teams: &[(i64, Role)],
        now: u64,
        ttl_seconds: u64,
    ) -> Result<SecretString, jsonwebtoken::errors::Error> {
        let teams: Map<String, Value> =
            teams.iter().map(|(team, role)| (team.to_string(), json!(role))).collect();
        let claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(ttl_seconds),
            "teams": teams,
        });
        encode(&Header::new(Algorithm::HS256), &claims, &self.key).map(SecretString::from)
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Minter(redacted)")
    }
}

/// Unix seconds by the clock that the verifier goes by.
pub fn unix_now() -> u64 {
    get_current_timestamp()
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
