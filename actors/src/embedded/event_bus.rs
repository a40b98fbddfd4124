//! The event bus inside one process.

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::Event;
use crate::ports::event_bus::{EventBus, EventSource};
use crate::ports::{PortError, PortResult};

/// Passing events may be lost, so a slow receiver simply misses some.
const CAPACITY: usize = 1024;

/// Carries events between the parts of one process.
#[derive(Debug, Clone)]
pub struct EmbeddedEventBus {
    passing: broadcast::Sender<Event>,
    outside: broadcast::Sender<Event>,
}

impl EmbeddedEventBus {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self {
            passing: broadcast::Sender::new(CAPACITY),
            outside: broadcast::Sender::new(CAPACITY),
        }
    }

    /// Listens where outside consumers would: to relayed durable events.
    pub fn outside(&self) -> broadcast::Receiver<Event> {
        self.outside.subscribe()
    }
}

impl Default for EmbeddedEventBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventBus for EmbeddedEventBus {
    async fn relay(&self, event: &Event) -> PortResult<()> {
        // Nobody outside is no failure: the outbox is the truth.
        let _ = self.outside.send(event.clone());
        Ok(())
    }

    async fn tell(&self, event: &Event) -> PortResult<()> {
        let _ = self.passing.send(event.clone());
        Ok(())
    }

    async fn subscribe(&self) -> PortResult<Box<dyn EventSource>> {
        Ok(Box::new(Source(self.passing.subscribe())))
    }
}

struct Source(broadcast::Receiver<Event>);

#[async_trait]
impl EventSource for Source {
    async fn next(&mut self) -> PortResult<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Ok(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => {
                    return Err(PortError::Unavailable {
                        service: "event bus",
                        message: "the bus was closed; subscribe anew".to_owned(),
                    });
                }
            }
        }
    }
}
