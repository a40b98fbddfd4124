//! The text form of a sealed secret, and what it is bound to.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::SecretError;

/// Bytes of an XChaCha20 nonce: long enough to be drawn at random for ever.
pub(super) const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const VERSION: &str = "v1";

/// What a secret is for. It is authenticated with the ciphertext, so a seal that
/// is copied to another team's row does not open there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// The Owner's session key or access token of one team on one platform.
    Session {
        /// The team that owns the key.
        team_id: i64,
        /// The platform's URL exactly as it is stored beside the key.
        platform_url: &'a str,
    },
    /// The key of the raw_version HMAC, one for the whole installation.
    Installation,
}

impl Purpose<'_> {
    /// The additional data of the seal. Every part carries its length, so that no
    /// two different purposes can spell the same bytes.
    pub(super) fn aad(&self, key_id: &str) -> Vec<u8> {
        let mut aad = Vec::with_capacity(96);
        match self {
            Self::Session { team_id, platform_url } => {
                push(&mut aad, b"vz-session/v1");
                push(&mut aad, team_id.to_string().as_bytes());
                push(&mut aad, platform_url.as_bytes());
            }
            Self::Installation => push(&mut aad, b"vz-installation/v1"),
        }
        push(&mut aad, key_id.as_bytes());
        aad
    }
}

fn push(aad: &mut Vec<u8>, part: &[u8]) {
    aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
    aad.extend_from_slice(part);
}

/// A sealed secret: `v1|key_id|nonce|ciphertext`, the last two in base64.
///
/// Safe to store, and quiet when printed: only the key's id shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(super) key_id: String,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) ciphertext: Vec<u8>,
}

impl Sealed {
    /// The id of the master key that sealed it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The text to store.
    pub fn to_text(&self) -> String {
        format!(
            "{VERSION}|{}|{}|{}",
            self.key_id,
            BASE64.encode(self.nonce),
            BASE64.encode(&self.ciphertext)
        )
    }
}

impl FromStr for Sealed {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let mut parts = text.split('|');
        let (Some(version), Some(key_id), Some(nonce), Some(ciphertext), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SecretError::Malformed("it has not the four parts of v1|key|nonce|text"));
        };
        if version != VERSION {
            return Err(SecretError::Malformed("its version is not v1"));
        }
        if !super::key_ring::is_key_id(key_id) {
            return Err(SecretError::Malformed("its key id has forbidden characters"));
        }
        let nonce = BASE64
            .decode(nonce)
            .ok()
            .and_then(|bytes| <[u8; NONCE_LEN]>::try_from(bytes).ok())
            .ok_or(SecretError::Malformed("its nonce is not 24 bytes of base64"))?;
        let ciphertext = BASE64
            .decode(ciphertext)
            .ok()
            .filter(|bytes| bytes.len() >= TAG_LEN)
            .ok_or(SecretError::Malformed("its ciphertext is not base64 or too short"))?;
        Ok(Self { key_id: key_id.to_owned(), nonce, ciphertext })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
