//! Who is asking, and what that allows.
//!
//! Owns the reading of bearer tokens and the map from role to permission. It
//! knows no route and no response: a caller turns a [`Refusal`] or a [`Denied`]
//! into a status. Deliberately absent: sessions, cookies, passwords, and any
//! lookup of roles elsewhere, since the token is the only source of them.

mod admin;
mod claims;
mod permission;
mod refusal;
mod token;

pub use admin::AdminToken;
pub use claims::Identity;
pub use permission::{Denied, Permission, Role};
pub use refusal::Refusal;
pub use token::{MAX_TOKEN_BYTES, MIN_SECRET_BYTES, Minter, Verifier, unix_now};
