//! What is set aside: by us with a reason, by the broker, and sent again.

use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use vz_sync::adapters::rabbitmq::RabbitJobBus;
use vz_sync::adapters::rabbitmq::topology::{DEAD, JOBS};
use vz_sync_actors::conformance::soon;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{Class, JobId};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::job_bus::{DELIVERY_LIMIT, JobBus};

use super::{Outsider, job, must};
use crate::support::rabbitmq::{open, vhost};

async fn bury(bus: &RabbitJobBus, lane: Lane, reason: &str) {
    let mut consumer = bus.consume(lane, 1).await.unwrap();
    soon(consumer.next()).await.unwrap().dead_letter(reason).await.unwrap();
}

#[tokio::test]
async fn dead_letters_tell_job_lane_and_reason_and_a_look_moves_nothing() {
    let url = vhost().await;
    let (bus, foreign) = (open(&url).await.job_bus(), Outsider::new(&url).await);
    bus.publish(&job(1, Class::Manual)).await.unwrap();
    bury(&bus, Lane::High, "schema version 9 is newer than ours").await;
    foreign.publish(JOBS, "low", "{\"job\":").await;
    bury(&bus, Lane::Low, "not a job").await;

    // RabbitMQ counts a look as a delivery: 30 of them must cost nothing.
    for _ in 0..30 {
        let letters = bus.dead_letters(10).await.unwrap();
        let told: Vec<_> = letters.iter().map(|l| (l.job, l.lane, l.reason.as_str())).collect();
        let newer = "schema version 9 is newer than ours";
        let expected =
            [(Some(JobId(1)), Some(Lane::High), newer), (None, Some(Lane::Low), "not a job")];
        assert_eq!(told, expected);
        // Closing the channel returns them, a moment later.
        must("all letters to be back", async {
            while bus.depths().await.unwrap().dead < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert_eq!(bus.dead_letters(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_replayed_job_goes_to_its_lane_and_leaves_the_others() {
    let url = vhost().await;
    let bus = open(&url).await.job_bus();
    for number in 1..=3 {
        bus.publish(&job(number, Class::Retry)).await.unwrap();
        bury(&bus, Lane::Normal, "poison").await;
    }
    assert_eq!(bus.replay(JobId(2)).await.unwrap(), 1);
    let mut consumer = bus.consume(Lane::Normal, 1).await.unwrap();
    let delivery = soon(consumer.next()).await.unwrap();
    assert_eq!(delivery.message, Ok(job(2, Class::Retry)));
    delivery.ack().await.unwrap();
    must("the others to be back", async {
        while bus.depths().await.unwrap().dead != 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let missing = bus.replay(JobId(2)).await.unwrap_err();
    assert!(matches!(missing, PortError::NotFound(_)), "{missing}");
}

/// The net below the attempts that the store counts.
#[tokio::test]
async fn a_message_that_nobody_settles_ends_as_a_dead_letter() {
    let url = vhost().await;
    let bus = open(&url).await.job_bus();
    bus.publish(&job(1, Class::Backfill)).await.unwrap();
    let mut consumer = bus.consume(Lane::Low, 1).await.unwrap();
    for round in 0..=DELIVERY_LIMIT {
        let delivery = must("a delivery", consumer.next()).await.unwrap();
        assert_eq!(delivery.redelivered, round > 0);
        drop(delivery);
    }
    must("the dead letter", async {
        while bus.depths().await.unwrap().dead == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let letters = bus.dead_letters(10).await.unwrap();
    assert_eq!((letters[0].job, letters[0].lane), (Some(JobId(1)), Some(Lane::Low)));
    assert_eq!(letters[0].reason, "delivery_limit");
}

/// Without a way to publish the copy, the broker moves the message itself.
#[tokio::test]
async fn when_the_copy_cannot_be_published_the_broker_sets_it_aside() {
    let url = vhost().await;
    let (rabbit, operator) = (open(&url).await, Outsider::new(&url).await);
    let bus = rabbit.job_bus();
    bus.publish(&job(1, Class::Manual)).await.unwrap();
    let mut consumer = bus.consume(Lane::High, 1).await.unwrap();
    let poisoned = soon(consumer.next()).await.unwrap();
    // The copy finds no queue, and neither does the broker, until there is one.
    let unbinding =
        operator.channel.queue_unbind(DEAD.into(), DEAD.into(), "".into(), FieldTable::default());
    unbinding.await.unwrap();
    poisoned.dead_letter("poison").await.unwrap();
    let rebinding = operator.channel.queue_bind(
        DEAD.into(),
        DEAD.into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    rebinding.await.unwrap();
    must("the dead letter", async {
        while bus.depths().await.unwrap().dead == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(bus.dead_letters(1).await.unwrap()[0].reason, "rejected");
}
