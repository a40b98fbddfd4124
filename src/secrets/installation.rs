//! The installation key: the HMAC key behind `raw_version`.
//!
//! It is keyed so that the shortcut hash of an item's raw bytes cannot be used to
//! guess a password inside them, and sealed so that a copy of the database alone
//! does not hold it. One row, shared by all replicas.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

use super::{KeyRing, Purpose, Sealed, SecretError, key_ring::random_key};

/// The key of the raw_version HMAC.
pub struct InstallationKey(SecretBox<[u8; 32]>);

impl InstallationKey {
    /// A fresh key, made once when an installation is set up.
    pub fn generate() -> Result<Self, SecretError> {
        random_key().map(Self)
    }

    /// Seals it for the `installation` row.
    pub fn seal(&self, ring: &KeyRing) -> Result<Sealed, SecretError> {
        ring.seal_bytes(Purpose::Installation, self.0.expose_secret())
    }

    /// Opens the seal of the `installation` row.
    pub fn open(ring: &KeyRing, sealed: &Sealed) -> Result<Self, SecretError> {
        let plain = ring.open_bytes(Purpose::Installation, sealed)?;
        if plain.len() != 32 {
            return Err(SecretError::Malformed("an installation key has 32 bytes"));
        }
        Ok(Self(SecretBox::init_with_mut(|slot: &mut [u8; 32]| slot.copy_from_slice(&plain))))
    }

    /// The HMAC-SHA256 of raw bytes under `tag` (method and codec version).
    ///
    /// The tag's length is part of the input, so no tag can run into the bytes.
    pub fn mac(&self, tag: &str, raw: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret())
            .expect("HMAC takes a key of any length");
        mac.update(&(tag.len() as u64).to_be_bytes());
        mac.update(tag.as_bytes());
        mac.update(raw);
        mac.finalize().into_bytes().into()
    }

    /// The key itself, for an adapter that keeps its own prepared HMAC state.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for InstallationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::MasterKey;
    use super::*;

    #[test]
    fn survives_a_round_trip_and_is_bound_to_its_purpose() {
        let ring = KeyRing::of(MasterKey::generate("k").unwrap());
        let key = InstallationKey::generate().unwrap();
        let sealed = key.seal(&ring).unwrap();
        let opened = InstallationKey::open(&ring, &sealed).unwrap();
        assert_eq!(key.mac("getenvs/1", b"x"), opened.mac("getenvs/1", b"x"));
        let as_session = Purpose::Session { team_id: 1, platform_url: "https://p" };
        assert!(matches!(ring.open(as_session, &sealed), Err(SecretError::Refused(_))));
    }

    #[test]
    fn the_tag_is_part_of_the_mac() {
        let key = InstallationKey::generate().unwrap();
        assert_ne!(key.mac("a", b"bc"), key.mac("ab", b"c"));
        assert_eq!(format!("{key:?}"), "InstallationKey(redacted)");
    }
}
