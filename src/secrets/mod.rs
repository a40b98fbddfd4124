//! Secrets at rest: the key ring, and what is sealed with it.
//!
//! Owns the sealing of session keys and of the installation key. It knows no
//! table and no file: a caller stores the [`Sealed`] text wherever it likes.
//! Deliberately absent: any way to print, clone or serialise key material, and
//! any retry: a seal that does not open today will not open in a minute.

mod error;
mod installation;
mod key_ring;
mod sealed;

pub use error::SecretError;
pub use installation::InstallationKey;
pub use key_ring::{KeyRing, MasterKey};
pub use sealed::{Purpose, Sealed};
