//! Whose installation a database holds, told without changing it.
//!
//! The installation's key is sealed by the master key of whoever set it up:
//! who can open it is at home here. No table needs a mark for that.

use tokio_postgres::{Client, Row};
use vz_sync_actors::ports::PortResult;

use super::call::get;
use super::error::judged;
use crate::secrets::{InstallationKey, KeyRing, Sealed};

const OWNERSHIP: &str = include_str!("sql/ownership.sql");

/// Whose installation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nobody is mirrored here.
    Nothing,
    /// Set up with a master key of the ring.
    Ours,
    /// Set up by somebody else.
    Others,
}

/// Looks; a database without the schema holds nothing.
pub async fn holds(client: &Client, keys: &KeyRing) -> PortResult<Holds> {
    let told = |error| judged(&error);
    let schema = client.query_one("SELECT to_regclass('teams') IS NOT NULL AS is_there", &[]).await;
    if !get::<bool>(&schema.map_err(told)?, "is_there")? {
        return Ok(Holds::Nothing);
    }
    let row = client.query_one(OWNERSHIP, &[]).await.map_err(told)?;
    if !get::<bool>(&row, "has_teams")? {
        return Ok(Holds::Nothing);
    }
    Ok(if opens(&row, keys)? { Holds::Ours } else { Holds::Others })
}

fn opens(row: &Row, keys: &KeyRing) -> PortResult<bool> {
    let sealed: Option<&[u8]> = get(row, "sealed")?;
    let sealed = sealed.and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse::<Sealed>().ok());
    Ok(sealed.is_some_and(|sealed| InstallationKey::open(keys, &sealed).is_ok()))
}
