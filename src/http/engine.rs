//! What the API asks of the running engine.
//!
//! A trait, so that the routes are tested without actors; the engine's own
//! handle is the one that serves.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vz_sync_actors::domain::event::Progress;
use vz_sync_actors::domain::{Event, EventNo, ScopeKey, TeamId};
use vz_sync_actors::kit::Roster;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::outbox::OutboxBounds;
use vz_sync_actors::ports::platforms::PlatformGate;
use vz_sync_actors::ports::store::{Requested, SyncRequest};
use vz_sync_actors::subscription::Subscription;

/// The engine, seen from the edge.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Makes scopes due sooner; durable once answered.
    async fn trigger(&self, request: &SyncRequest) -> PortResult<Requested>;

    /// A team's events from now on.
    async fn subscribe(&self, team: TeamId) -> PortResult<Subscription>;

    /// A team's durable events after a number, in order.
    async fn replay(&self, team: TeamId, after: EventNo, limit: usize) -> PortResult<Vec<Event>>;

    /// Which numbers a team's outbox holds.
    async fn outbox_bounds(&self, team: TeamId) -> PortResult<Option<OutboxBounds>>;

    /// How far the run of a scope was when it was last heard of.
    fn progress(&self, key: ScopeKey) -> Option<Progress>;

    /// The gates of the platforms as last read.
    fn gates(&self) -> Arc<[PlatformGate]>;

    /// The average wait between dispatch and lease.
    fn queue_wait(&self) -> Duration;

    /// What is known of every actor.
    fn roster(&self) -> &Roster;

    /// Stops the run in hand of a scope, if this replica has it, and says
    /// whether there was one.
    async fn cancel_run(&self, key: ScopeKey, by: &str) -> PortResult<bool>;

    /// States were made due: look now.
    fn nudge(&self);
}
