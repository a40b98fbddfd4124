//! The engine's handle as the [`Engine`] that the API asks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vz_sync_actors::domain::event::Progress;
use vz_sync_actors::domain::{Event, EventNo, ScopeKey, TeamId};
use vz_sync_actors::engine::{EngineHandle, SubscribeError};
use vz_sync_actors::kit::{AskError, Roster};
use vz_sync_actors::ports::outbox::OutboxBounds;
use vz_sync_actors::ports::platforms::PlatformGate;
use vz_sync_actors::ports::store::{Requested, SyncRequest};
use vz_sync_actors::ports::{PortError, PortResult};
use vz_sync_actors::subscription::Subscription;

use super::engine::Engine;

#[async_trait]
impl Engine for EngineHandle {
    async fn trigger(&self, request: &SyncRequest) -> PortResult<Requested> {
        Self::trigger(self, request).await
    }

    async fn subscribe(&self, team: TeamId) -> PortResult<Subscription> {
        Self::subscribe(self, team).await.map_err(|error| match error {
            SubscribeError::Port(error) => error,
            SubscribeError::Actor(error) => {
                PortError::Unavailable { service: "event broadcaster", message: error.to_string() }
            }
        })
    }

    async fn replay(&self, team: TeamId, after: EventNo, limit: usize) -> PortResult<Vec<Event>> {
        Self::replay(self, team, after, limit).await
    }

    async fn outbox_bounds(&self, team: TeamId) -> PortResult<Option<OutboxBounds>> {
        Self::outbox_bounds(self, team).await
    }

    fn progress(&self, key: ScopeKey) -> Option<Progress> {
        Self::progress(self, key)
    }

    fn gates(&self) -> Arc<[PlatformGate]> {
        self.measured().gates()
    }

    fn queue_wait(&self) -> Duration {
        self.measured().queue_wait()
    }

    fn roster(&self) -> &Roster {
        Self::roster(self)
    }

    async fn cancel_run(&self, key: ScopeKey, by: &str) -> PortResult<bool> {
        let unavailable = |error: AskError| PortError::Unavailable {
            service: "team pool",
            message: error.to_string(),
        };
        Self::cancel_run(self, key, by).await.map_err(unavailable)
    }

    fn nudge(&self) {
        Self::nudge(self);
    }
}
