//! Publishing with confirms, one unconfirmed publish per channel.
//!
//! lapin hands a returned message to whichever publish of the channel is
//! confirmed first. With one at a time there is only one it can belong to; a
//! small pool of channels makes up for the wait. A channel whose publish was
//! not confirmed in time is given up, so that its late confirm meets nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use vz_sync_actors::ports::{PortError, PortResult};

use super::counters::Counters;
use super::error::{is_missing, judged, unavailable, unknown};
use super::link::{Link, Session};

/// What to publish.
#[derive(Debug)]
pub struct Letter<'a> {
    /// The exchange.
    pub exchange: &'a str,
    /// The routing key, at most 255 bytes.
    pub routing_key: &'a str,
    /// Whether it must reach a queue.
    pub mandatory: bool,
    /// The body.
    pub body: &'a [u8],
    /// Headers and the like.
    pub properties: BasicProperties,
}

/// What became of a confirmed publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// In every queue it was routed to; that may be none if it was not mandatory.
    Routed,
    /// In no queue, although it was mandatory; the broker's word.
    Returned(String),
}

/// A pool of channels over the publishing connection.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
    limit: Duration,
    room: Semaphore,
    /// Idle channels. Those of an earlier connection are dropped when met.
    idle: Mutex<Vec<Channel>>,
    counters: Arc<Counters>,
}

impl Publisher {
    pub(super) fn new(
        link: Link,
        channels: usize,
        limit: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        let room = Semaphore::new(channels.max(1));
        Self { link, limit, room, idle: Mutex::default(), counters }
    }

    /// Publishes and waits for the confirm, at most so long as the options say.
    ///
    /// # Errors
    /// `Unavailable`: not sent, or not taken by a queue. `OutcomeUnknown`:
    /// perhaps published, perhaps later, when an alarm ends. `Refused`: the user
    /// lacks a right.
    pub async fn publish(&self, letter: Letter<'_>) -> PortResult<Fate> {
        let fate = self.try_publish(letter).await;
        match &fate {
            Ok(Fate::Routed) => self.counters.published.add(),
            Ok(Fate::Returned(_)) => self.counters.returned.add(),
            Err(PortError::OutcomeUnknown { .. }) => self.counters.unknown.add(),
            Err(_) => self.counters.refused.add(),
        }
        fate
    }

    async fn try_publish(&self, letter: Letter<'_>) -> PortResult<Fate> {
        let deadline = Instant::now() + self.limit;
        let busy = || unavailable(format!("every channel is busy for {:?}", self.limit));
        let _room = timeout_at(deadline, self.room.acquire())
            .await
            .map_err(|_| busy())?
            .map_err(|_| unavailable("the pool is closed"))?;
        let session = self.link.session()?;
        if let Some(reason) = session.blocked() {
            return Err(unavailable(format!("blocked by an alarm of the broker: {reason}")));
        }
        let channel = match timeout_at(deadline, self.channel(&session)).await {
            Ok(channel) => channel?,
            Err(_) => {
                return Err(unavailable(format!("no channel within {:?}", self.limit)));
            }
        };
        let sending = send(&channel, letter);
        let end = tokio::select! {
            // A confirm that is there already counts, blocked or not.
            biased;
            end = timeout_at(deadline, sending) => end,
            reason = session.until_blocked() => {
                return Err(unknown(format!("blocked by an alarm of the broker: {reason}")));
            }
        };
        let Ok(sent) = end else {
            return Err(unknown(format!("no confirm within {:?}", self.limit)));
        };
        let fate = match sent {
            Ok(Confirmation::Ack(None)) => Ok(Fate::Routed),
            Ok(Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back))) => {
                Ok(Fate::Returned(format!("{} {}", back.reply_code, back.reply_text)))
            }
            Ok(Confirmation::Nack(None)) => Err(unavailable("a queue did not take the message")),
            // Without confirms nothing is known; the channel is not ours.
            Ok(Confirmation::NotRequested) => return Err(unknown("confirms are off")),
            Err(error) if is_missing(&error) => return Ok(Fate::Returned(error.to_string())),
            // A refusal is the broker's answer; anything else ended the wait for one.
            Err(error) => {
                let judged = judged("publishing", &error);
                return Err(if judged.is_transient() {
                    unknown(error.to_string())
                } else {
                    judged
                });
            }
        };
        self.idle().push(channel);
        fate
    }

    /// A channel without an unconfirmed publish: an idle one or a new one.
    async fn channel(&self, session: &Session) -> PortResult<Channel> {
        loop {
            let Some(idle) = self.idle().pop() else { break };
            if idle.status().connected() {
                return Ok(idle);
            }
        }
        let opening = async {
            let channel = session.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        opening.await.map_err(|error| judged("opening a channel", &error))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        // A list of channels is whole after any panic.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(channel: &Channel, letter: Letter<'_>) -> lapin::Result<Confirmation> {
    let Letter { exchange, routing_key, mandatory, body, properties } = letter;
    let options = BasicPublishOptions { mandatory, ..Default::default() };
    let confirm = channel
        .basic_publish(exchange.into(), routing_key.into(), options, body, properties)
        .await?;
    confirm.await
}
