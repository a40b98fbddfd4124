//! The job bus inside one process: three queues and the dead letters.
//!
//! Messages are kept as the JSON that would travel, so that what another
//! version wrote, or nobody can read, is handled here as it is at a broker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::locked;
use crate::domain::job::Lane;
use crate::ports::job_bus::{
    BusDepths, DELIVERY_LIMIT, Delivery, JobBus, JobConsumer, JobMessage, Settle,
};
use crate::ports::{PortError, PortResult};

/// A broker for one process.
#[derive(Clone, Default)]
pub struct EmbeddedJobBus {
    shared: Arc<Shared>,
}

/// A message that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it came from.
    pub lane: Lane,
    /// The message as it travelled.
    pub body: String,
    /// Why it was set aside.
    pub reason: String,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    grown: [Notify; Lane::ALL.len()],
    unsettled: AtomicUsize,
}

#[derive(Default)]
struct Queues {
    lanes: [VecDeque<Waiting>; Lane::ALL.len()],
    dead: Vec<DeadLetter>,
}

struct Waiting {
    body: Arc<str>,
    deliveries: u32,
}

impl Shared {
    fn take(&self, lane: Lane) -> Option<Waiting> {
        locked(&self.queues).lanes[lane as usize].pop_front()
    }

    fn push(&self, lane: Lane, waiting: Waiting) {
        locked(&self.queues).lanes[lane as usize].push_back(waiting);
        self.grown[lane as usize].notify_one();
    }

    /// A message that comes again stands where it stood: in front.
    fn take_back(&self, lane: Lane, waiting: Waiting) {
        if waiting.deliveries >= DELIVERY_LIMIT {
            self.bury(lane, &waiting, "delivery_limit");
            return;
        }
        locked(&self.queues).lanes[lane as usize].push_front(waiting);
        self.grown[lane as usize].notify_one();
    }

    fn bury(&self, lane: Lane, waiting: &Waiting, reason: &str) {
        locked(&self.queues).dead.push(DeadLetter {
            lane,
            body: waiting.body.to_string(),
            reason: reason.to_owned(),
        });
    }
}

impl EmbeddedJobBus {
    /// Empty queues.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was set aside, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        locked(&self.shared.queues).dead.clone()
    }

    /// Deliveries that are neither settled nor back in their queue.
    pub fn unsettled(&self) -> usize {
        self.shared.unsettled.load(Ordering::Acquire)
    }

    /// Puts a body into a queue as it is, readable or not: what a foreign
    /// publisher could do at a broker.
    pub fn publish_raw(&self, lane: Lane, body: &str) {
        self.shared.push(lane, Waiting { body: body.into(), deliveries: 0 });
    }
}

#[async_trait]
impl JobBus for EmbeddedJobBus {
    async fn publish(&self, message: &JobMessage) -> PortResult<()> {
        let body = message.encode("job bus")?;
        self.publish_raw(message.class.lane(), &body);
        Ok(())
    }

    async fn consume(&self, lane: Lane, prefetch: usize) -> PortResult<Box<dyn JobConsumer>> {
        Ok(Box::new(Consumer {
            shared: Arc::clone(&self.shared),
            lane,
            room: Arc::new(Semaphore::new(prefetch.max(1))),
        }))
    }

    async fn depths(&self) -> PortResult<BusDepths> {
        let queues = locked(&self.shared.queues);
        let lane = |lane: Lane| queues.lanes[lane as usize].len() as u64;
        Ok(BusDepths {
            high: lane(Lane::High),
            normal: lane(Lane::Normal),
            low: lane(Lane::Low),
            dead: queues.dead.len() as u64,
        })
    }
}

struct Consumer {
    shared: Arc<Shared>,
    lane: Lane,
    room: Arc<Semaphore>,
}

#[async_trait]
impl JobConsumer for Consumer {
    async fn next(&mut self) -> PortResult<Delivery> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| {
            PortError::Unavailable { service: "job bus", message: "consumer closed".to_owned() }
        })?;
        let grown = &self.shared.grown[self.lane as usize];
        let mut waiting = loop {
            // Registered before looking, or a message between look and wait would be slept over.
            let notified = grown.notified();
            if let Some(waiting) = self.shared.take(self.lane) {
                break waiting;
            }
            notified.await;
        };
        let redelivered = waiting.deliveries > 0;
        waiting.deliveries += 1;
        let message = serde_json::from_str(&waiting.body).map_err(|error| error.to_string());
        let shared = Arc::clone(&self.shared);
        let counted = Counted::new(&self.shared);
        let settle = Unsettled { shared, lane: self.lane, waiting, room, _counted: counted };
        Ok(Delivery::new(message, self.lane, redelivered, Box::new(settle)))
    }
}

/// A delivery on its way; its room in the prefetch window goes with it.
struct Unsettled {
    shared: Arc<Shared>,
    lane: Lane,
    waiting: Waiting,
    room: OwnedSemaphorePermit,
    _counted: Counted,
}

/// One of the unsettled deliveries, however it ends.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.unsettled.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.unsettled.fetch_sub(1, Ordering::AcqRel);
    }
}

#[async_trait]
impl Settle for Unsettled {
    async fn ack(self: Box<Self>) -> PortResult<()> {
        Ok(())
    }

    async fn dead_letter(self: Box<Self>, reason: &str) -> PortResult<()> {
        self.shared.bury(self.lane, &self.waiting, reason);
        Ok(())
    }

    fn abandoned(self: Box<Self>) {
        let Self { shared, lane, waiting, room, _counted } = *self;
        shared.take_back(lane, waiting);
        drop(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_is_never_settled_ends_as_a_dead_letter() {
        let bus = EmbeddedJobBus::new();
        bus.publish_raw(Lane::Low, "{}");
        let mut consumer = bus.consume(Lane::Low, 1).await.unwrap();
        for round in 0..DELIVERY_LIMIT {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.redelivered, round > 0);
            drop(delivery);
        }
        assert_eq!(bus.depths().await.unwrap(), BusDepths { dead: 1, ..BusDepths::default() });
        assert_eq!(bus.dead_letters()[0].reason, "delivery_limit");
    }
}
