//! The installation's key, made and sealed by whichever replica comes first.

use secrecy::SecretString;
use tokio_postgres::Row;

use super::super::error::Fault;
use super::PgStore;
use super::db::{read, write};
use crate::secrets::{InstallationKey, Sealed};

const STORED: &str = "SELECT raw_version_key_sealed FROM installation";
const KEEP: &str =
    "INSERT INTO installation (raw_version_key_sealed, raw_version_key_id) VALUES ($1, $2)
     ON CONFLICT DO NOTHING";

impl PgStore {
    /// The key as 64 hex digits.
    pub(super) async fn try_raw_version_key(&self) -> Result<SecretString, Fault> {
        if let Some(row) = read(&self.pools.pipeline, STORED, &[]).await?.first() {
            return self.open_key(row);
        }
        let made = InstallationKey::generate().map_err(Fault::unreadable)?;
        let sealed = made.seal(&self.keys).map_err(Fault::unreadable)?;
        let text = sealed.to_text();
        write(&self.pools.pipeline, KEEP, &[&text.as_bytes(), &sealed.key_id()]).await?;
        // Another replica's key may have been first: what is stored counts.
        let rows = read(&self.pools.pipeline, STORED, &[]).await?;
        let row = rows.first().ok_or_else(|| Fault::unreadable("the installation row is gone"))?;
        self.open_key(row)
    }

    fn open_key(&self, row: &Row) -> Result<SecretString, Fault> {
        let bytes: &[u8] = row.try_get("raw_version_key_sealed")?;
        let text = std::str::from_utf8(bytes).map_err(Fault::unreadable)?;
        let sealed: Sealed = text.parse().map_err(Fault::unreadable)?;
        let key = InstallationKey::open(&self.keys, &sealed).map_err(Fault::unreadable)?;
        let mut digits = String::with_capacity(64);
        for byte in key.expose() {
            digits.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            digits.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Ok(digits.into())
    }
}
