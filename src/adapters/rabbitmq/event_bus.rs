//! The event bus over the topic exchange `events.vz.sync`.
//!
//! Durable events are relayed for outside consumers, persistent and confirmed.
//! Passing events go over the same exchange to a queue of each subscription,
//! which is exclusive and vanishes with it. What an outside consumer gets is
//! described by `docs/operations/events.schema.json`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use uuid::Uuid;
use vz_sync_actors::domain::Event;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::event_bus::{EventBus, EventSource};

use super::error::{unavailable, within};
use super::message::{event_body, event_key, event_letter};
use super::rabbit::Shared;
use super::topology::{EVENTS, table};

/// The types that pass by.
const PASSING: [&str; 2] = ["team.*.sync.started", "team.*.sync.progress"];

/// Events fetched ahead of the reader.
const PREFETCH: u16 = 200;

/// Events kept for a subscriber that does not read; the oldest go first.
const LONGEST: i64 = 10_000;

/// Age at which a passing event is of no use any more, in milliseconds.
const OLDEST: i64 = 60_000;

/// Events to every replica and to outside consumers.
#[derive(Debug, Clone)]
pub struct RabbitEventBus {
    shared: Arc<Shared>,
}

impl RabbitEventBus {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn publish(&self, event: &Event) -> PortResult<()> {
        let (key, body) = (event_key(event), event_body(event)?);
        // Nobody may listen, so it is not mandatory, and none comes back.
        self.shared.events.publish(event_letter(event, &key, &body)).await.map(drop)
    }
}

#[async_trait]
impl EventBus for RabbitEventBus {
    async fn relay(&self, event: &Event) -> PortResult<()> {
        self.publish(event).await
    }

    async fn tell(&self, event: &Event) -> PortResult<()> {
        self.publish(event).await
    }

    async fn subscribe(&self) -> PortResult<Box<dyn EventSource>> {
        let session = self.shared.consume.session()?;
        let subscribing = async {
            let channel = session.connection.create_channel().await?;
            // Named, so that a user needs rights to `events.vz.*` only.
            let queue = format!("{EVENTS}.replica.{}", Uuid::new_v4());
            let options =
                QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
            let arguments = table([
                ("x-max-length", AMQPValue::LongLongInt(LONGEST)),
                ("x-message-ttl", AMQPValue::LongLongInt(OLDEST)),
            ]);
            channel.queue_declare(queue.as_str().into(), options, arguments).await?;
            for key in PASSING {
                channel
                    .queue_bind(
                        queue.as_str().into(),
                        EVENTS.into(),
                        key.into(),
                        QueueBindOptions::default(),
                        FieldTable::default(),
                    )
                    .await?;
            }
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let events = channel
                .basic_consume(
                    queue.as_str().into(),
                    "".into(),
                    BasicConsumeOptions { exclusive: true, ..Default::default() },
                    FieldTable::default(),
                )
                .await?;
            Ok(Source { _channel: channel, events, settle: self.shared.options.settle })
        };
        let source =
            within(self.shared.options.ask, "subscribing to passing events", subscribing).await?;
        Ok(Box::new(source))
    }
}

struct Source {
    _channel: Channel,
    events: Consumer,
    settle: Duration,
}

#[async_trait]
impl EventSource for Source {
    async fn next(&mut self) -> PortResult<Event> {
        loop {
            let delivery = match self.events.next().await {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Err(unavailable(format!("passing events: {error}"))),
                None => return Err(unavailable("the broker ended the subscription")),
            };
            // A lost acknowledgement ends with the connection, as the queue does.
            let _ = timeout(self.settle, delivery.ack(BasicAckOptions::default())).await;
            match serde_json::from_slice::<Event>(&delivery.data) {
                // A number says that it is a copy for others; the outbox has it.
                Ok(event) if event.no.is_none() => return Ok(event),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "an event of another version is passed over");
                }
            }
        }
    }
}
