//! The gates of the platforms.

use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::domain::{PlatformId, ReplicaId};
use crate::ports::platforms::{Circuit, PlatformGate, Platforms};
use crate::ports::{PortError, PortResult};

/// How long a probe may stay without an answer before another may try.
const PROBE_DEADLINE: Duration = Duration::from_mins(3);

fn missing(platform: PlatformId) -> PortError {
    PortError::NotFound(format!("platform {platform}"))
}

#[async_trait]
impl Platforms for MemoryStore {
    async fn gates(&self) -> PortResult<Vec<PlatformGate>> {
        let (tables, now) = (self.tables(), self.now());
        let left = |until: Option<time::OffsetDateTime>| {
            until.and_then(|at| Duration::try_from(at - now).ok()).unwrap_or_default()
        };
        Ok(tables
            .platforms
            .iter()
            .map(|(id, platform)| PlatformGate {
                platform: *id,
                base_url: platform.base_url.clone(),
                circuit: platform.circuit,
                consecutive_failures: platform.consecutive_failures,
                open_until: platform.open_until,
                last_error: platform.last_error.clone(),
                throttled_for: left(platform.next_token_at),
            })
            .collect())
    }

    async fn connection_failed(
        &self,
        platform: PlatformId,
        threshold: u32,
        open_for: Duration,
        why: &str,
    ) -> PortResult<bool> {
        let (mut tables, now) = (self.tables(), self.now());
        let row = tables.platforms.get_mut(&platform).ok_or_else(|| missing(platform))?;
        row.consecutive_failures += 1;
        // A failed probe needs no new count: the circuit was open already.
        if row.circuit == Circuit::HalfOpen
            || (row.circuit == Circuit::Closed && row.consecutive_failures >= threshold)
        {
            row.circuit = Circuit::Open;
            row.open_until = Some(now + open_for);
            row.last_error = Some(why.to_owned());
        }
        Ok(row.circuit == Circuit::Open)
    }

    async fn answered(&self, platform: PlatformId) -> PortResult<()> {
        let mut tables = self.tables();
        let row = tables.platforms.get_mut(&platform).ok_or_else(|| missing(platform))?;
        row.circuit = Circuit::Closed;
        row.consecutive_failures = 0;
        row.open_until = None;
        row.last_error = None;
        Ok(())
    }

    async fn throttled(&self, platform: PlatformId, wait: Duration) -> PortResult<()> {
        let (mut tables, now) = (self.tables(), self.now());
        let row = tables.platforms.get_mut(&platform).ok_or_else(|| missing(platform))?;
        row.next_token_at = row.next_token_at.max(Some(now + wait));
        Ok(())
    }

    async fn take_probe(&self, platform: PlatformId, _replica: ReplicaId) -> PortResult<bool> {
        let (mut tables, now) = (self.tables(), self.now());
        let row = tables.platforms.get_mut(&platform).ok_or_else(|| missing(platform))?;
        let free = row.circuit != Circuit::Closed && row.open_until.is_none_or(|at| at <= now);
        if free {
            row.circuit = Circuit::HalfOpen;
            row.open_until = Some(now + PROBE_DEADLINE);
        }
        Ok(free)
    }
}
