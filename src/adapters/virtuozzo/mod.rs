//! The platform client: [`VirtuozzoPlatform`] answers the engine's `Platform` port over HTTP.
//!
//! - `client` sends: limiter, gates, deadlines, one retry on a connection closed while idle
//! - `ssrf` says which addresses may be asked, `gates` whether a platform may be asked now
//! - `errors` gives every failure its class and a fixed text
//! - `stream` finds the elements of a listing as it arrives, `element` reads one of them with
//!   `json`, `rules` and `columns`
//! - `listing` is the port itself, `actions` its history part
//!
//! Deliberately absent: anything that writes to a platform, and any schedule. Wire types stay here.

mod actions;
mod client;
mod columns;
mod element;
mod errors;
mod fresh;
mod gates;
mod json;
mod listing;
mod measure;
mod options;
mod rules;
mod ssrf;
mod stream;

#[cfg(test)]
mod tests;

pub use client::{Observer, RequestSeen, Surroundings};
pub use errors::ResultCodes;
pub use gates::{GateState, Gates};
pub use measure::{Depth, read_body};
pub use options::VirtuozzoOptions;
pub use ssrf::{AddressPolicy, RefusedUrl};

use client::Client;
use element::RawHasher;
use secrecy::{ExposeSecret, SecretSlice};

/// The client could not be built: TLS or the resolver did not start.
#[derive(Debug, thiserror::Error)]
#[error("the platform client cannot be built: {0}")]
pub struct BuildError(#[from] reqwest::Error);

/// Asks platforms in the teams' names. One for all platforms and teams of a process.
pub struct VirtuozzoPlatform {
    client: Client,
    hasher: RawHasher,
}

impl VirtuozzoPlatform {
    /// `raw_key` is the installation's key for raw versions, the same on every replica.
    pub fn new(
        options: VirtuozzoOptions,
        around: Surroundings,
        raw_key: &SecretSlice<u8>,
    ) -> Result<Self, BuildError> {
        let hasher = RawHasher::new(raw_key.expose_secret());
        Ok(Self { client: Client::new(options, around)?, hasher })
    }
}
