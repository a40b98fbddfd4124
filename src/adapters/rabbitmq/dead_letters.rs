//! Looking at the dead letters, and sending them again.
//!
//! A look fetches without settling and then closes the channel, so that all of
//! it goes back. Two looks at once each see a part. What is sent again leaves
//! the dead letters only after its copy is confirmed to be in its lane: a crash
//! between the two leaves a duplicate, which is harmless.

use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::FieldTable;
use lapin::{Channel, options::QueueDeclareOptions};
use serde::Serialize;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{JobId, ScopeKey};
use vz_sync_actors::ports::job_bus::JobMessage;
use vz_sync_actors::ports::{PortError, PortResult};

use super::error::within;
use super::job_bus::RabbitJobBus;
use super::message::{lane_of_dead, read_job, reason_of};
use super::topology::DEAD;

/// Most letters that one look goes through; they are in memory meanwhile.
const MOST: usize = 10_000;

/// A message that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The job, if the message can be read.
    pub job: Option<JobId>,
    /// Its team and scope.
    pub key: Option<ScopeKey>,
    /// The lane it came from, if that is known.
    pub lane: Option<Lane>,
    /// Why it was set aside.
    pub reason: String,
    /// Bytes of its body.
    pub bytes: usize,
}

struct Fetched {
    letter: DeadLetter,
    message: Option<JobMessage>,
    acker: lapin::Acker,
}

impl RabbitJobBus {
    /// The dead letters, oldest first, at most `limit`. Nothing is moved.
    pub async fn dead_letters(&self, limit: usize) -> PortResult<Vec<DeadLetter>> {
        let channel = self.look().await?;
        let mut letters = Vec::new();
        let mut left = self.count(&channel).await?.min(limit).min(MOST);
        while left > 0
            && let Some(fetched) = self.fetch(&channel).await?
        {
            letters.push(fetched.letter);
            left -= 1;
        }
        self.put_back(&channel).await?;
        Ok(letters)
    }

    /// Sends the dead letters of a job again, each to the lane of its class.
    /// Answers how many there were; there is one for each time it died.
    ///
    /// # Errors
    /// `NotFound` when there is none, with all letters looked at.
    pub async fn replay(&self, job: JobId) -> PortResult<usize> {
        let channel = self.look().await?;
        let mut sent = 0;
        let mut left = self.count(&channel).await?.min(MOST);
        while left > 0
            && let Some(Fetched { message, acker, .. }) = self.fetch(&channel).await?
        {
            left -= 1;
            let Some(message) = message.filter(|message| message.job == job) else { continue };
            self.send(&message).await?;
            let ack = async { acker.ack(BasicAckOptions::default()).await };
            within(self.shared.options.settle, "removing a dead letter", ack).await?;
            sent += 1;
        }
        self.put_back(&channel).await?;
        if sent == 0 {
            return Err(PortError::NotFound(format!("a dead letter of job {job}")));
        }
        Ok(sent)
    }

    async fn look(&self) -> PortResult<Channel> {
        let session = self.shared.consume.session()?;
        let opening = session.connection.create_channel();
        within(self.shared.options.ask, "opening a channel", opening).await
    }

    async fn count(&self, channel: &Channel) -> PortResult<usize> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asking = channel.queue_declare(DEAD.into(), passive, FieldTable::default());
        let queue = within(self.shared.options.ask, "counting dead letters", asking).await?;
        Ok(queue.message_count() as usize)
    }

    async fn fetch(&self, channel: &Channel) -> PortResult<Option<Fetched>> {
        let getting = channel.basic_get(DEAD.into(), BasicGetOptions::default());
        let got = within(self.shared.options.ask, "reading dead letters", getting).await?;
        Ok(got.map(|got| {
            let delivery = got.delivery;
            let message = read_job(&delivery.data, &delivery.properties).ok();
            Fetched {
                letter: DeadLetter {
                    job: message.as_ref().map(|message| message.job),
                    key: message.as_ref().map(|message| message.key),
                    lane: lane_of_dead(delivery.routing_key.as_str(), &delivery.properties),
                    reason: reason_of(&delivery.properties),
                    bytes: delivery.data.len(),
                },
                message,
                acker: delivery.acker,
            }
        }))
    }

    /// Closing the channel returns all that is not settled.
    async fn put_back(&self, channel: &Channel) -> PortResult<()> {
        let closing = channel.close(200, "looked".into());
        within(self.shared.options.ask, "putting dead letters back", closing).await
    }
}
