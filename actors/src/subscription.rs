//! What a subscriber of a team's events holds.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::domain::{Event, EventNo};

/// An event on its way to subscribers, rendered at most once for all of them.
#[derive(Debug)]
pub struct Told {
    /// The event.
    pub event: Event,
    frame: OnceLock<Bytes>,
}

impl Told {
    /// Wraps an event.
    pub fn new(event: Event) -> Self {
        Self { event, frame: OnceLock::new() }
    }

    /// The event as the transport sends it, rendered by the first who asks.
    pub fn frame(&self, render: impl FnOnce(&Event) -> Bytes) -> Bytes {
        self.frame.get_or_init(|| render(&self.event)).clone()
    }
}

/// A team's events from now on.
pub struct Subscription {
    /// Durable events up to this number were told before: replay them from
    /// the outbox. Every one after it comes live.
    pub from: EventNo,
    /// Live events. Lagging behind cuts the subscriber off.
    pub live: broadcast::Receiver<Arc<Told>>,
}
