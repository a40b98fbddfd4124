//! What the exam of the job bus cannot see: the topology, the message on the
//! wire, and how deliveries outlive their consumer.

use lapin::BasicProperties;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use vz_sync::adapters::rabbitmq::topology::{JOBS, queue_of};
use vz_sync::adapters::rabbitmq::{Letter, Rabbit, RabbitOptions};
use vz_sync_actors::conformance::{never, soon};
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{Class, JobId};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::job_bus::{JobBus as _, JobMessage};

use super::{Outsider, job, must, next};
use crate::support::rabbitmq::{open, secret, vhost};

#[tokio::test]
async fn the_wire_carries_class_schema_and_trace_context() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let url = vhost().await;
    let (bus, outsider) = (open(&url).await.job_bus(), Outsider::new(&url).await);
    let copies = outsider.queue(JOBS, "high").await;
    let mut copies = outsider.consume(&copies).await;
    let sent = JobMessage { trace_parent: Some(PARENT.to_owned()), ..job(7, Class::Manual) };
    bus.publish(&sent).await.unwrap();
    let copy = next(&mut copies).await;
    let (properties, headers) = (&copy.properties, copy.properties.headers().clone().unwrap());
    assert_eq!((*properties.delivery_mode(), *properties.priority()), (Some(2), Some(9)));
    let parent = AMQPValue::LongString(LongString::from(PARENT));
    assert_eq!(headers.inner().get("traceparent"), Some(&parent));
    assert_eq!(headers.inner().get("schema_version"), Some(&AMQPValue::LongInt(1)));

    let mut consumer = bus.consume(Lane::High, 1).await.unwrap();
    let delivery = soon(consumer.next()).await.unwrap();
    assert_eq!(delivery.message, Ok(sent));
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_lost_binding_is_noticed_and_made_again() {
    let url = vhost().await;
    let rabbit = open(&url).await;
    let (bus, operator) = (rabbit.job_bus(), Outsider::new(&url).await);
    let queue = queue_of(Lane::Normal);
    let unbinding = operator.channel.queue_unbind(
        queue.into(),
        JOBS.into(),
        "normal".into(),
        FieldTable::default(),
    );
    unbinding.await.unwrap();

    let refused = bus.publish(&job(1, Class::Schedule)).await.unwrap_err();
    assert!(matches!(refused, PortError::Unavailable { .. }), "{refused}");
    assert_eq!(operator.count(queue).await, 0);
    bus.publish(&job(1, Class::Schedule)).await.unwrap();
    assert_eq!(operator.count(queue).await, 1);
    assert_eq!((rabbit.counts().returned, rabbit.counts().published), (1, 1));
}

#[tokio::test]
async fn a_deleted_queue_ends_its_consumer_and_the_next_one_declares_it() {
    let url = vhost().await;
    let (bus, operator) = (open(&url).await.job_bus(), Outsider::new(&url).await);
    let mut consumer = bus.consume(Lane::Low, 1).await.unwrap();
    let deleting =
        operator.channel.queue_delete(queue_of(Lane::Low).into(), QueueDeleteOptions::default());
    deleting.await.unwrap();
    let over = must("the end of the consumer", consumer.next()).await.unwrap_err();
    assert!(over.is_transient());

    let mut successor = bus.consume(Lane::Low, 1).await.unwrap();
    bus.publish(&job(2, Class::Backfill)).await.unwrap();
    let delivery = soon(successor.next()).await.unwrap();
    assert_eq!(delivery.message.as_ref().map(|message| message.job), Ok(JobId(2)));
    delivery.ack().await.unwrap();
}

/// An intake that restarts must not make the runs of its former life happen
/// twice, nor keep what it had fetched.
#[tokio::test]
async fn a_delivery_outlives_its_consumer_and_what_it_had_fetched_goes_back() {
    let url = vhost().await;
    let bus = open(&url).await.job_bus();
    for number in 1..=3 {
        bus.publish(&job(number, Class::Retry)).await.unwrap();
    }
    let mut consumer = bus.consume(Lane::Normal, 3).await.unwrap();
    let running = soon(consumer.next()).await.unwrap();
    drop(consumer);

    let mut successor = bus.consume(Lane::Normal, 3).await.unwrap();
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let delivery = soon(successor.next()).await.unwrap();
        jobs.push(delivery.message.as_ref().unwrap().job);
        delivery.ack().await.unwrap();
    }
    jobs.sort_unstable();
    assert_eq!(jobs, [JobId(2), JobId(3)]);
    running.ack().await.unwrap();
    never(successor.next()).await;
}

#[tokio::test]
async fn a_queue_that_is_full_is_no_delivery() {
    let url = vhost().await;
    let (rabbit, operator) = (open(&url).await, Outsider::new(&url).await);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let declaring =
        operator.channel.queue_declare("full".into(), QueueDeclareOptions::default(), arguments);
    declaring.await.unwrap();
    let publish = async || {
        let letter = Letter {
            exchange: "",
            routing_key: "full",
            mandatory: true,
            body: b"{}",
            properties: BasicProperties::default(),
        };
        rabbit.publisher().publish(letter).await
    };
    publish().await.unwrap();
    let refused = publish().await.unwrap_err();
    assert!(matches!(refused, PortError::Unavailable { .. }), "{refused}");
    // The channel is still of use.
    rabbit.job_bus().publish(&job(1, Class::Manual)).await.unwrap();
}

#[tokio::test]
async fn a_queue_of_other_arguments_is_used_all_the_same() {
    let url = vhost().await;
    let operator = Outsider::new(&url).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let queue = queue_of(Lane::High);
    operator.channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
    let bus = open(&url).await.job_bus();
    bus.publish(&job(1, Class::Manual)).await.unwrap();
    assert_eq!(operator.count(queue).await, 1);
}

#[tokio::test]
async fn depths_count_what_waits_in_each_lane() {
    let url = vhost().await;
    let bus = open(&url).await.job_bus();
    for (number, class) in [(1, Class::Manual), (2, Class::Demand), (3, Class::Backfill)] {
        bus.publish(&job(number, class)).await.unwrap();
    }
    let depths = bus.depths().await.unwrap();
    assert_eq!((depths.high, depths.normal, depths.low, depths.dead), (2, 0, 1, 0));
}

/// The first connection that is refused must say so, and quote no password.
#[tokio::test]
async fn wrong_credentials_and_an_unknown_vhost_fail_the_start() {
    let url = vhost().await;
    let wrong = url.replace("guest:guest@", "guest:canary-password@");
    let (host, _) = url.rsplit_once('/').unwrap();
    for url in [wrong, format!("{host}/nowhere")] {
        let refused = Rabbit::open(&secret(&url), RabbitOptions::default()).await.unwrap_err();
        assert!(matches!(refused, PortError::Refused { .. }), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_closed_bus_gives_back_what_it_holds() {
    let url = vhost().await;
    let (one, two) = (open(&url).await, open(&url).await);
    one.job_bus().publish(&job(1, Class::Manual)).await.unwrap();
    let mut consumer = one.job_bus().consume(Lane::High, 1).await.unwrap();
    let held = soon(consumer.next()).await.unwrap();
    one.close().await;
    let mut other = two.job_bus().consume(Lane::High, 1).await.unwrap();
    let again = must("the delivery", other.next()).await.unwrap();
    assert!(again.redelivered);
    assert!(held.ack().await.unwrap_err().is_transient());
    assert!(one.job_bus().publish(&job(2, Class::Manual)).await.unwrap_err().is_transient());
    again.ack().await.unwrap();
}
