//! What an installation may set about its platform client.

use std::time::Duration;

use super::errors::ResultCodes;
use super::ssrf::AddressPolicy;

/// Limits and policies of the client. The defaults are those of the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtuozzoOptions {
    /// `User-Agent`; the platform has refused tokens without one.
    pub user_agent: String,
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until the head of the answer comes.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub between_chunks: Duration,
    /// For a whole request.
    pub total: Duration,
    /// Longest wait for the rate limiter before the request is given back.
    pub limiter_wait: Duration,
    /// Most bytes of a body, counted after decompression.
    pub max_body: u64,
    /// Most bytes of one element, and of an answer that is read as a whole.
    pub max_element: usize,
    /// Elements that are handed over at once.
    pub batch: usize,
    /// Connection-level failures in a row that open a circuit.
    pub circuit_threshold: u32,
    /// How long an open circuit waits before it is probed.
    pub circuit_open_for: Duration,
    /// Patience after a 429 that names none.
    pub default_patience: Duration,
    /// Which addresses a platform may have.
    pub addresses: AddressPolicy,
    /// What result codes mean.
    pub codes: ResultCodes,
    /// Whether listings name the owner in `ownerUid`. Off: an owner's own key needs none, and
    /// platforms before 7.0 do not know it.
    pub send_owner_uid: bool,
}

impl Default for VirtuozzoOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("vz-sync/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(2),
            between_chunks: Duration::from_secs(15),
            total: Duration::from_secs(150),
            limiter_wait: Duration::from_secs(2),
            max_body: 256 << 20,
            max_element: 16 << 20,
            batch: 128,
            circuit_threshold: 5,
            circuit_open_for: Duration::from_secs(30),
            default_patience: Duration::from_secs(30),
            addresses: AddressPolicy::default(),
            codes: ResultCodes::default(),
            send_owner_uid: false,
        }
    }
}
