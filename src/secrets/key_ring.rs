//! The key ring: several master keys, the first of which encrypts.
//!
//! Keeping old keys in the ring is what makes rotation possible without a flag
//! day: they open what they sealed, and [`KeyRing::rotate`] seals it anew.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::Zeroizing;

use super::sealed::NONCE_LEN;
use super::{Purpose, Sealed, SecretError};

const KEY_LEN: usize = 32;
const MAX_SECRET: usize = 16 * 1024;

/// Keys are pasted by people: padding is taken with or without.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Letters, digits, dot, dash and underscore, at most 32: nothing that could be
/// taken for a separator of the ring or of a seal.
pub(super) fn is_key_id(id: &str) -> bool {
    (1..=32).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// One named 256-bit key.
pub struct MasterKey {
    id: String,
    bytes: SecretBox<[u8; KEY_LEN]>,
}

impl MasterKey {
    /// A fresh key from the operating system's random source.
    pub fn generate(id: &str) -> Result<Self, SecretError> {
        if !is_key_id(id) {
            return Err(SecretError::BadEntry { position: 1, problem: BAD_ID });
        }
        Ok(Self { id: id.to_owned(), bytes: random_key()? })
    }

    /// The key's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `id:base64` form for `VZ_SYNC_MASTER_KEYS`.
    pub fn to_entry(&self) -> SecretString {
        format!("{}:{}", self.id, KEY_BASE64.encode(self.bytes.expose_secret())).into()
    }

    fn parse(position: usize, entry: &str) -> Result<Self, SecretError> {
        let bad = |problem| SecretError::BadEntry { position, problem };
        let (id, key) =
            entry.split_once(':').ok_or(bad("it has no colon; the form is id:base64"))?;
        if !is_key_id(id) {
            return Err(bad(BAD_ID));
        }
        let decoded =
            Zeroizing::new(KEY_BASE64.decode(key).map_err(|_| bad("the key is not base64"))?);
        if decoded.len() != KEY_LEN {
            return Err(bad("the key is not 32 bytes long"));
        }
        let bytes = SecretBox::init_with_mut(|slot: &mut [u8; KEY_LEN]| {
            slot.copy_from_slice(&decoded);
        });
        Ok(Self { id: id.to_owned(), bytes })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes.expose_secret().into())
    }
}

const BAD_ID: &str = "the id must be 1 to 32 letters, digits, dots, dashes or underscores";

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(super) fn random_key() -> Result<SecretBox<[u8; KEY_LEN]>, SecretError> {
    let random =
        Zeroizing::new(<[u8; KEY_LEN]>::try_generate().map_err(|_| SecretError::NoEntropy)?);
    Ok(SecretBox::init_with_mut(|slot: &mut [u8; KEY_LEN]| slot.copy_from_slice(&*random)))
}

/// The master keys, newest first. The first encrypts, all of them decrypt.
pub struct KeyRing {
    keys: Vec<MasterKey>,
}

impl KeyRing {
    /// Reads the comma separated `id:base64` list of `VZ_SYNC_MASTER_KEYS`.
    pub fn parse(list: &SecretString) -> Result<Self, SecretError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        let entries = list.expose_secret().split(',').map(str::trim).filter(|e| !e.is_empty());
        for (index, entry) in entries.enumerate() {
            let key = MasterKey::parse(index + 1, entry)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(SecretError::DuplicateId(key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(SecretError::EmptyRing) } else { Ok(Self { keys }) }
    }

    /// A ring of one key, as the demo and the tests make it.
    pub fn of(key: MasterKey) -> Self {
        Self { keys: vec![key] }
    }

    /// The key that seals from now on.
    pub fn primary_id(&self) -> &str {
        &self.keys[0].id
    }

    /// Every id, primary first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Seals `secret` with the primary key, bound to `purpose`.
    pub fn seal(&self, purpose: Purpose<'_>, secret: &SecretString) -> Result<Sealed, SecretError> {
        self.seal_bytes(purpose, secret.expose_secret().as_bytes())
    }

    /// Opens a seal made for the same purpose.
    ///
    /// Fails with [`SecretError::UnknownKey`] naming the missing key, or with
    /// [`SecretError::Refused`] when the text was altered or moved.
    pub fn open(&self, purpose: Purpose<'_>, sealed: &Sealed) -> Result<SecretString, SecretError> {
        let plain = self.open_bytes(purpose, sealed)?;
        std::str::from_utf8(&plain)
            .map(SecretString::from)
            .map_err(|_| SecretError::Malformed("what it holds is not text"))
    }

    /// Seals anew with the primary key; `None` when it already is.
    pub fn rotate(
        &self,
        purpose: Purpose<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, SecretError> {
        if sealed.key_id == self.primary_id() {
            return Ok(None);
        }
        let plain = self.open_bytes(purpose, sealed)?;
        self.seal_bytes(purpose, &plain).map(Some)
    }

    pub(super) fn seal_bytes(
        &self,
        purpose: Purpose<'_>,
        secret: &[u8],
    ) -> Result<Sealed, SecretError> {
        if secret.len() > MAX_SECRET {
            return Err(SecretError::TooLong(secret.len()));
        }
        let key = &self.keys[0];
        let nonce = <[u8; NONCE_LEN]>::try_generate().map_err(|_| SecretError::NoEntropy)?;
        let payload = Payload { msg: secret, aad: &purpose.aad(&key.id) };
        let ciphertext = key
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::TooLong(secret.len()))?;
        Ok(Sealed { key_id: key.id.clone(), nonce, ciphertext })
    }

    pub(super) fn open_bytes(
        &self,
        purpose: Purpose<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let key = self
            .keys
            .iter()
            .find(|key| key.id == sealed.key_id)
            .ok_or_else(|| SecretError::UnknownKey(sealed.key_id.clone()))?;
        let payload = Payload { msg: &sealed.ciphertext, aad: &purpose.aad(&key.id) };
        key.cipher()
            .decrypt(&XNonce::from(sealed.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SecretError::Refused(key.id.clone()))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("ids", &self.ids().collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
