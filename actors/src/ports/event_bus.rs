//! The event bus: events to every replica and to outside consumers.
//!
//! Durable events travel here only as a copy; the outbox is the truth and
//! every replica tails it. Passing events (started, progress) travel here
//! alone and may be lost.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::Event;

/// Publishes and receives events.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes a copy of a durable event for outside consumers; resolves on
    /// confirm. Repeats carry the same team and number.
    async fn relay(&self, event: &Event) -> PortResult<()>;

    /// Tells all replicas, this one included, of a passing event. Never waits
    /// for a slow receiver.
    async fn tell(&self, event: &Event) -> PortResult<()>;

    /// Receives passing events of all teams from all replicas.
    async fn subscribe(&self) -> PortResult<Box<dyn EventSource>>;
}

/// A stream of passing events.
#[async_trait]
pub trait EventSource: Send {
    /// The next event. An error means that this subscription is over.
    async fn next(&mut self) -> PortResult<Event>;
}
