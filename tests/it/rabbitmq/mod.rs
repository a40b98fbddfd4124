//! The RabbitMQ adapters against a real broker.

mod dead_letters;
mod doctor;
mod events;
mod exam;
mod jobs;
mod own_server;
mod returns;

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::time::timeout;
use vz_sync_actors::domain::{Class, JobId};
use vz_sync_actors::ports::job_bus::{JOB_SCHEMA_VERSION, JobMessage};
use vz_sync_actors::testkit::fixtures::environments_of;

/// How long a test waits for what must come; a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What must happen.
async fn must<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waiting for {what}"))
}

fn job(number: i64, class: Class) -> JobMessage {
    JobMessage {
        schema_version: JOB_SCHEMA_VERSION,
        job: JobId(number),
        key: environments_of(number),
        class,
        trace_parent: None,
    }
}

/// Somebody else at the broker: a consumer of events, an operator, a publisher
/// of nonsense.
struct Outsider {
    channel: Channel,
    _connection: Connection,
}

impl Outsider {
    async fn new(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Publishes and waits for the confirm.
    async fn publish(&self, exchange: &str, key: &str, body: &str) -> Confirmation {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default();
        let confirm = self.channel.basic_publish(
            exchange.into(),
            key.into(),
            options,
            body.as_bytes(),
            properties,
        );
        confirm.await.unwrap().await.unwrap()
    }

    /// A queue of its own that is bound to an exchange.
    async fn queue(&self, exchange: &str, key: &str) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let none = FieldTable::default;
        let queue = self.channel.queue_declare("".into(), options, none()).await.unwrap();
        let bind = QueueBindOptions::default();
        let name = queue.name().clone();
        self.channel
            .queue_bind(name.clone(), exchange.into(), key.into(), bind, none())
            .await
            .unwrap();
        name.to_string()
    }

    async fn consume(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consuming =
            self.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        consuming.await.unwrap()
    }

    async fn count(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asking = self.channel.queue_declare(queue.into(), passive, FieldTable::default());
        asking.await.unwrap().message_count()
    }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    must("a delivery", consumer.next()).await.expect("the consumer goes on").unwrap()
}
