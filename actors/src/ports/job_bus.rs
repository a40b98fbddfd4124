//! The job bus: from the dispatcher to whichever replica has room.
//!
//! At least once, order not promised. A message names a job and carries no
//! facts to act on: whoever receives it reads the store.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{PortError, PortResult};
use crate::domain::job::Lane;
use crate::domain::{Class, JobId, ScopeKey};

/// Version of [`JobMessage`] that this build writes.
pub const JOB_SCHEMA_VERSION: u32 = 1;

/// Largest message that may travel, in bytes.
pub const MAX_JOB_MESSAGE: usize = 4096;

/// Deliveries after which a message that nobody settles becomes a dead letter:
/// a mere net, since attempts are counted in the store.
pub const DELIVERY_LIMIT: u32 = 20;

/// What travels on the bus: at most [`MAX_JOB_MESSAGE`] bytes, no secrets.
/// Unknown fields of a newer writer are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// Shape of the message.
    pub schema_version: u32,
    /// The job to lease.
    pub job: JobId,
    /// Its team and scope.
    pub key: ScopeKey,
    /// Decides queue and AMQP priority.
    pub class: Class,
    /// W3C `traceparent` of what made it due.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace_parent: Option<String>,
}

impl JobMessage {
    /// The message as it travels; refused when it is too large. `service` is
    /// who refuses.
    pub fn encode(&self, service: &'static str) -> PortResult<String> {
        let refused = |message| PortError::Refused { service, message };
        let body = serde_json::to_string(self)
            .map_err(|error| refused(format!("job {} cannot be written: {error}", self.job)))?;
        if body.len() > MAX_JOB_MESSAGE {
            return Err(refused(format!(
                "the message of job {} has {} bytes, at most {MAX_JOB_MESSAGE} may travel",
                self.job,
                body.len()
            )));
        }
        Ok(body)
    }
}

/// Publishes and consumes job messages.
#[async_trait]
pub trait JobBus: Send + Sync + 'static {
    /// Resolves once the message is confirmed to be in a queue. Any error
    /// means "perhaps published": the caller puts the entry back and a
    /// duplicate is harmless.
    async fn publish(&self, message: &JobMessage) -> PortResult<()>;

    /// Starts consuming one lane with at most `prefetch` unsettled deliveries.
    async fn consume(&self, lane: Lane, prefetch: usize) -> PortResult<Box<dyn JobConsumer>>;

    /// Messages waiting in each lane and dead-lettered, where it can be told.
    async fn depths(&self) -> PortResult<BusDepths>;
}

/// Lengths of the broker's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BusDepths {
    /// Waiting, high lane.
    pub high: u64,
    /// Waiting, normal lane.
    pub normal: u64,
    /// Waiting, low lane.
    pub low: u64,
    /// Dead-lettered.
    pub dead: u64,
}

/// One lane's deliveries.
#[async_trait]
pub trait JobConsumer: Send {
    /// The next delivery. An error means that this consumer is over; unsettled
    /// deliveries come again to the next one.
    async fn next(&mut self) -> PortResult<Delivery>;
}

/// A message that must be settled. Dropped unsettled it goes back to its
/// queue, as it would when the connection broke.
pub struct Delivery {
    /// The message, or why it could not be read.
    pub message: Result<JobMessage, String>,
    /// Where it came from.
    pub lane: Lane,
    /// Whether it was delivered before.
    pub redelivered: bool,
    settle: Option<Box<dyn Settle>>,
}

impl Delivery {
    /// Wraps a received message; the adapter's `settle` is called at most once.
    pub fn new(
        message: Result<JobMessage, String>,
        lane: Lane,
        redelivered: bool,
        settle: Box<dyn Settle>,
    ) -> Self {
        Self { message, lane, redelivered, settle: Some(settle) }
    }

    /// The durable decision was taken: forget the message.
    pub async fn ack(mut self) -> PortResult<()> {
        match self.settle.take() {
            Some(settle) => settle.ack().await,
            None => Ok(()),
        }
    }

    /// The message can never be handled: keep it aside with the reason.
    pub async fn dead_letter(mut self, reason: &str) -> PortResult<()> {
        match self.settle.take() {
            Some(settle) => settle.dead_letter(reason).await,
            None => Ok(()),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.abandoned();
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("lane", &self.lane)
            .finish()
    }
}

/// How an adapter settles a delivery.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Forget the message.
    async fn ack(self: Box<Self>) -> PortResult<()>;

    /// Move the message to the dead letters.
    async fn dead_letter(self: Box<Self>, reason: &str) -> PortResult<()>;

    /// Nobody settled it: it must come again. Must not block.
    fn abandoned(self: Box<Self>);
}
