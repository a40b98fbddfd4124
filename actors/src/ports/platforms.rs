//! The gates of each platform, shared by all replicas: circuit, throttling
//! and the probe slot. Read each second, so the hot path asks no server.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;

use super::PortResult;
use crate::domain::{PlatformId, ReplicaId};

/// Shared state of the platforms.
#[async_trait]
pub trait Platforms: Send + Sync + 'static {
    /// The gates of every platform, by the database's clock.
    async fn gates(&self) -> PortResult<Vec<PlatformGate>>;

    /// No answer came at all. The `threshold`-th in a row opens the circuit
    /// for `open_for`; `why`, which holds no secret, is kept with it until it
    /// closes. Answers whether it is open now.
    async fn connection_failed(
        &self,
        platform: PlatformId,
        threshold: u32,
        open_for: Duration,
        why: &str,
    ) -> PortResult<bool>;

    /// An answer came: closes the circuit and forgets the failures. Must be
    /// free of writes when there is nothing to forget.
    async fn answered(&self, platform: PlatformId) -> PortResult<()>;

    /// The platform asked for patience: no team sends before that.
    async fn throttled(&self, platform: PlatformId, wait: Duration) -> PortResult<()>;

    /// Takes the one probe of an open circuit whose time has come.
    async fn take_probe(&self, platform: PlatformId, replica: ReplicaId) -> PortResult<bool>;
}

/// What stands between a run and a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlatformGate {
    /// The platform.
    pub platform: PlatformId,
    /// Its base URL.
    pub base_url: String,
    /// The circuit.
    pub circuit: Circuit,
    /// Connection-level failures in a row.
    pub consecutive_failures: u32,
    /// When the open circuit may be probed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub open_until: Option<OffsetDateTime>,
    /// What opened it, while it is not closed.
    pub last_error: Option<String>,
    /// Time left until the platform may be asked again; zero when it may.
    pub throttled_for: Duration,
}

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Requests pass.
    Closed,
    /// No request passes.
    Open,
    /// One probe is under way.
    HalfOpen,
}
