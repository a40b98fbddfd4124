//! The service of a bench: `vz-sync serve` in a process of its own.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use vz_sync_actors::domain::TeamId;

use super::child::Own;
use super::wire::address;
use crate::config::Config;
use crate::http::auth::{Minter, Role, unix_now};

/// How long the bench's tokens live, in seconds.
const TOKEN_LIFE: u64 = 24 * 3600;

/// A running service.
pub struct Server {
    own: Own,
    address: SocketAddr,
    minter: Minter,
}

impl Server {
    /// Starts it over a database, with the keys of `config` and `settings` beside them.
    pub async fn start(
        config: &Config,
        database_url: &SecretString,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let secret = |secret: &Option<SecretString>| {
            secret.as_ref().map(|secret| secret.expose_secret().to_owned()).unwrap_or_default()
        };
        let (keys, jwt) = (secret(&config.secrets.master_keys), secret(&config.auth.jwt_secret));
        let mut environment = vec![
            ("VZ_SYNC_DATABASE_URL", database_url.expose_secret()),
            ("VZ_SYNC_MASTER_KEYS", &keys),
            ("VZ_SYNC_JWT_SECRET", &jwt),
            ("VZ_SYNC_PLATFORM__ALLOW_HTTP_LOOPBACK", "true"),
            ("VZ_SYNC_FULL_INTERVAL_MINUTES", "10080"),
            ("VZ_SYNC_DELTA_INTERVAL_MINUTES", "1440"),
            ("VZ_SYNC_LOG__FILTER", "warn"),
        ];
        environment.extend_from_slice(settings);
        let any = "127.0.0.1:0";
        let args = ["serve", "--json", "--listen", any, "--admin-listen", any];
        let (own, first) = Own::start(&args, &environment).await?;
        let said: Value = serde_json::from_str(&first).context("the service said something odd")?;
        let address = address(said["url"].as_str().context("the service named no address")?)?;
        let minter = Minter::from_config(&config.auth).context("there is no signing secret")?;
        Ok(Self { own, address, minter })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub const fn process(&self) -> &Own {
        &self.own
    }

    /// A token for one team.
    pub fn token(&self, subject: &str, team: TeamId) -> Result<SecretString> {
        let teams = [(team.0, Role::Developer)];
        self.minter.mint(subject, &teams, unix_now(), TOKEN_LIFE).context("no token was made")
    }
}
