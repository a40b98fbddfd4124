//! The admin listener's bearer token.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Refusal, token::bearer};

/// The expected token as a digest: comparing digests in constant time tells nothing
/// about the length or the beginning of the token.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Takes the configured token.
    pub fn new(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }

    /// Whether the presented token is the expected one.
    pub fn matches(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.0.ct_eq(&presented).into()
    }

    /// Checks an `Authorization` header.
    pub fn verify_header(&self, header: Option<&str>) -> Result<(), Refusal> {
        if self.matches(bearer(header)?) { Ok(()) } else { Err(Refusal::Signature) }
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_matches() {
        let admin = AdminToken::new(&"correct-horse-battery".into());
        assert!(admin.matches("correct-horse-battery"));
        for wrong in ["", "correct-horse-batter", "correct-horse-battery ", "CORRECT"] {
            assert!(!admin.matches(wrong), "{wrong}");
        }
        assert_eq!(admin.verify_header(Some("Bearer correct-horse-battery")), Ok(()));
        assert_eq!(admin.verify_header(Some("bearer nope")), Err(Refusal::Signature));
        for none in [None, Some(""), Some("Bearer"), Some("Bearer  "), Some("Basic abc")] {
            assert_eq!(admin.verify_header(none), Err(Refusal::Missing), "{none:?}");
        }
        assert!(!format!("{admin:?}").contains("horse"));
    }
}
