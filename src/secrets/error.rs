//! What can go wrong with a secret, in words that carry none of it.

/// Why a key ring could not be read or a seal not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The ring has no key at all.
    #[error(
        "the key ring is empty: give at least one id:base64 pair in VZ_SYNC_MASTER_KEYS (vz-sync keys generate prints one)"
    )]
    EmptyRing,
    /// An entry of the ring is not `id:base64`; entries are counted from 1 and never quoted.
    #[error("master key {position}: {problem}")]
    BadEntry {
        /// Which entry of the comma separated list, from 1.
        position: usize,
        /// What is wrong with it, without quoting it.
        problem: &'static str,
    },
    /// Two entries share an id, so a seal could not say which of them made it.
    #[error("master key id {0:?} is given twice: ids name keys, so each must be unique")]
    DuplicateId(String),
    /// The seal was made with a key that the ring does not hold.
    #[error(
        "sealed with master key {0:?}, which is not in the key ring: put that key back into VZ_SYNC_MASTER_KEYS, or set the credentials anew"
    )]
    UnknownKey(String),
    /// The text is not a seal of a known version.
    #[error("not a sealed secret: {0}")]
    Malformed(&'static str),
    /// The tag does not match: altered, or moved from another team, platform or purpose.
    #[error(
        "the sealed secret does not open with master key {0:?}: it was altered, or belongs to another team or platform"
    )]
    Refused(String),
    /// The secret is larger than anything this product seals.
    #[error("the secret is {0} bytes long; at most 16384 are sealed")]
    TooLong(usize),
    /// The operating system gave no random bytes.
    #[error("the operating system's random source failed")]
    NoEntropy,
}
