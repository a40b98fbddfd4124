//! One lane's deliveries, and how they are settled.
//!
//! A delivery keeps its channel open, so that it can be settled after its
//! consumer has gone. What a consumer had fetched and nobody took is given back
//! when it goes.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, BasicProperties, Channel, Consumer};
use tokio::runtime::Handle;
use tokio::time::timeout;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::job_bus::{Delivery, JobConsumer, Settle};

use super::error::{unavailable, unknown, within};
use super::message::{dead_letter, read_job};
use super::publisher::Fate;
use super::rabbit::Shared;
use super::topology::queue_of;

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

/// Consumes one lane over a channel of its own.
pub(super) struct LaneConsumer {
    shared: Arc<Shared>,
    lane: Lane,
    channel: Channel,
    deliveries: Consumer,
}

impl LaneConsumer {
    pub(super) async fn open(
        shared: &Arc<Shared>,
        lane: Lane,
        prefetch: usize,
    ) -> PortResult<Self> {
        let session = shared.consume.session()?;
        let prefetch = u16::try_from(prefetch.max(1)).unwrap_or(u16::MAX);
        let doing = format!("consuming {}", queue_of(lane));
        let (channel, deliveries) = within(shared.options.ask, &doing, async {
            let channel = session.connection.create_channel().await?;
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let deliveries = channel
                .basic_consume(
                    queue_of(lane).into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            Ok((channel, deliveries))
        })
        .await?;
        Ok(Self { shared: Arc::clone(shared), lane, channel, deliveries })
    }
}

#[async_trait]
impl JobConsumer for LaneConsumer {
    async fn next(&mut self) -> PortResult<Delivery> {
        match self.deliveries.next().await {
            Some(Ok(delivery)) => {
                let message = read_job(&delivery.data, &delivery.properties);
                let settle = Unsettled {
                    shared: Arc::clone(&self.shared),
                    lane: self.lane,
                    acker: delivery.acker,
                    _channel: self.channel.clone(),
                    body: delivery.data,
                    properties: delivery.properties,
                    runtime: Handle::current(),
                };
                Ok(Delivery::new(message, self.lane, delivery.redelivered, Box::new(settle)))
            }
            Some(Err(error)) => Err(unavailable(format!("lane {}: {error}", self.lane))),
            None => {
                Err(unavailable(format!("the broker ended the consumer of lane {}", self.lane)))
            }
        }
    }
}

impl Drop for LaneConsumer {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (mut deliveries, channel) = (self.deliveries.clone(), self.channel.clone());
        let limit = self.shared.options.settle;
        runtime.spawn(timeout(limit, async move {
            let tag = deliveries.tag();
            let _ = channel.basic_cancel(tag, BasicCancelOptions::default()).await;
            while let Some(Ok(delivery)) = deliveries.next().await {
                let _ = delivery.nack(REQUEUE).await;
            }
        }));
    }
}

struct Unsettled {
    shared: Arc<Shared>,
    lane: Lane,
    acker: Acker,
    _channel: Channel,
    body: Vec<u8>,
    properties: BasicProperties,
    runtime: Handle,
}

impl Unsettled {
    /// Waits until a settlement was handed to the socket; the broker answers none.
    async fn settled(&self, settling: impl Future<Output = lapin::Result<bool>>) -> PortResult<()> {
        let limit = self.shared.options.settle;
        match timeout(limit, settling).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => {
                Err(unavailable("the connection of the delivery is gone; it comes again"))
            }
            Ok(Err(error)) => Err(unavailable(format!("the delivery comes again: {error}"))),
            Err(_) => Err(unknown(format!("the delivery was not settled within {limit:?}"))),
        }
    }
}

#[async_trait]
impl Settle for Unsettled {
    async fn ack(self: Box<Self>) -> PortResult<()> {
        self.settled(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn dead_letter(self: Box<Self>, reason: &str) -> PortResult<()> {
        self.shared.counters.dead_lettered.add();
        let copy = dead_letter(self.lane, &self.body, &self.properties, reason);
        if let Ok(Fate::Routed) = self.shared.jobs.publish(copy).await {
            return self.settled(self.acker.ack(BasicAckOptions::default())).await;
        }
        // Without a copy the broker moves it, at least once and without our
        // words: an alarm must not make a poisoned message go round.
        let reject = BasicRejectOptions { requeue: false };
        self.settled(self.acker.reject(reject)).await
    }

    fn abandoned(self: Box<Self>) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            // If it cannot be said, the end of the connection says it.
            let _ = self.settled(self.acker.nack(REQUEUE)).await;
        });
    }
}
