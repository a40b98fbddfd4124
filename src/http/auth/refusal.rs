//! Why a token was not taken: for the log and the counter, never for the answer's body.

/// A token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No bearer token at all.
    #[error("no bearer token")]
    Missing,
    /// Longer than 8 KiB; not even looked at.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url with JSON inside.
    #[error("the token is malformed")]
    Malformed,
    /// Another algorithm than the pinned one.
    #[error("the token names another algorithm than the one in use")]
    Algorithm,
    /// The `typ` header names something other than an access token, or `crit` asks for more.
    #[error("the token is of another type")]
    Type,
    /// The signature does not match.
    #[error("the signature does not match")]
    Signature,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Another issuer.
    #[error("the token comes from another issuer")]
    Issuer,
    /// Meant for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// A claim is missing or has the wrong form.
    #[error("a claim is missing or has the wrong form")]
    Claims,
}

impl Refusal {
    /// The label of `vz_sync_auth_violations_total`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
        }
    }
}
