//! The exchanges and queues, and how they are asserted.
//!
//! The alternate exchange has no queue of its own, on purpose: a message that
//! it can route counts as routed, and its publisher is never told
//! (decision 015). Whoever wants to look at unroutable messages binds a queue
//! to it for a while.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ExchangeKind};
use tokio::time::timeout;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::job_bus::DELIVERY_LIMIT;

use super::error::{is_different, judged, refused, unavailable};

/// Jobs by lane. Direct, durable.
pub const JOBS: &str = "jobs.vz.sync";
/// The alternate exchange of [`JOBS`]. Fanout, durable, without a queue.
pub const UNROUTED: &str = "jobs.vz.unrouted";
/// Exchange and queue of the dead letters. Routing keys stay those of the lanes.
pub const DEAD: &str = "jobs.vz.sync.dead";
/// Events. Topic, durable; keys `team.<id>.<type>`.
pub const EVENTS: &str = "events.vz.sync";

/// Looking at a dead letter is a delivery, too; RabbitMQ 4 would drop it at
/// the 20th look.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// The queue of a lane.
pub const fn queue_of(lane: Lane) -> &'static str {
    match lane {
        Lane::High => "jobs.vz.sync.high",
        Lane::Normal => "jobs.vz.sync.normal",
        Lane::Low => "jobs.vz.sync.low",
    }
}

/// The lane of a queue or of a routing key.
pub fn lane_of(name: &str) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| queue_of(*lane) == name || lane.as_str() == name)
}

/// Declares what is missing; what exists is left as it is.
///
/// Answers the queues that exist with other arguments than ours. They are used
/// all the same: an operator, or an earlier version, made them so, and no
/// client can change them. An exchange that differs is refused, since messages
/// would go astray.
pub async fn assert(connection: &Connection, limit: Duration) -> PortResult<Vec<Difference>> {
    match timeout(limit, Asserting::new(connection).run()).await {
        Ok(asserted) => asserted,
        Err(_) => Err(unavailable(format!("asserting the topology: no answer within {limit:?}"))),
    }
}

/// A queue that exists with other arguments than ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The queue.
    pub queue: &'static str,
    /// The broker's word.
    pub reason: String,
}

/// Logs what differs.
pub(super) fn tell(differences: &[Difference]) {
    for Difference { queue, reason } in differences {
        tracing::warn!(event = "vz_sync_amqp_topology_differs", queue, reason = %reason, "a queue exists with other arguments; to change it, empty and delete it");
    }
}

struct Asserting<'a> {
    connection: &'a Connection,
    channel: Option<Channel>,
    differences: Vec<Difference>,
}

impl<'a> Asserting<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self { connection, channel: None, differences: Vec::new() }
    }

    async fn run(mut self) -> PortResult<Vec<Difference>> {
        self.exchange(UNROUTED, ExchangeKind::Fanout, FieldTable::default()).await?;
        let alternate = table([("alternate-exchange", text(UNROUTED))]);
        self.exchange(JOBS, ExchangeKind::Direct, alternate).await?;
        self.exchange(DEAD, ExchangeKind::Fanout, FieldTable::default()).await?;
        self.exchange(EVENTS, ExchangeKind::Topic, FieldTable::default()).await?;
        // The target of dead letters before what may send it some.
        self.queue(DEAD, dead_arguments()).await?;
        self.bind(DEAD, DEAD, "").await?;
        for lane in Lane::ALL {
            self.queue(queue_of(lane), lane_arguments()).await?;
            self.bind(queue_of(lane), JOBS, lane.as_str()).await?;
        }
        Ok(self.differences)
    }

    /// A channel; the broker closes one at the first refusal.
    async fn channel(&mut self) -> PortResult<Channel> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let made = self.connection.create_channel().await;
        let channel = made.map_err(|error| judged("opening a channel", &error))?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    async fn exchange(
        &mut self,
        name: &'static str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> PortResult<()> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let channel = self.channel().await?;
        let declared = channel.exchange_declare(name.into(), kind, options, arguments).await;
        declared.map_err(|error| {
            if is_different(&error) {
                return refused(format!(
                    "exchange {name} exists and is not ours: {error}; delete it, or use another vhost"
                ));
            }
            judged(&format!("declaring exchange {name}"), &error)
        })
    }

    async fn queue(&mut self, name: &'static str, arguments: FieldTable) -> PortResult<()> {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let channel = self.channel().await?;
        match channel.queue_declare(name.into(), options, arguments).await {
            Ok(_) => return Ok(()),
            Err(error) if is_different(&error) => {
                self.differences.push(Difference { queue: name, reason: error.to_string() });
            }
            Err(error) => return Err(judged(&format!("declaring queue {name}"), &error)),
        }
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = self.channel().await?;
        let looked = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
        looked.map(drop).map_err(|error| judged(&format!("looking at queue {name}"), &error))
    }

    async fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> PortResult<()> {
        let channel = self.channel().await?;
        let bound = channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await;
        bound.map_err(|error| judged(&format!("binding queue {queue}"), &error))
    }
}

/// Quorum queues have no priorities before RabbitMQ 4; the lanes are the
/// priorities, and the property is set for brokers that know more.
fn lane_arguments() -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT.into())),
        ("x-dead-letter-exchange", text(DEAD)),
        // Together these two lose no dead letter on its way. Brokers before
        // 3.10 do not know the strategy and pass over it.
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

fn dead_arguments() -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DEAD_DELIVERY_LIMIT)),
    ])
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

pub(super) fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_found_by_its_queue_and_by_its_key() {
        for lane in Lane::ALL {
            assert_eq!(lane_of(queue_of(lane)), Some(lane));
            assert_eq!(lane_of(lane.as_str()), Some(lane));
        }
        assert_eq!(lane_of(DEAD), None);
    }
}
