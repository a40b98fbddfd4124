//! lapin hands a returned message to whichever publish of the channel is
//! confirmed first. One unconfirmed publish per channel makes that the right one.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation};
use vz_sync::adapters::rabbitmq::topology::JOBS;
use vz_sync::adapters::rabbitmq::{Fate, Letter};

use super::Outsider;
use crate::support::rabbitmq::{open, vhost};

/// A key that a queue is bound for, and one that none is.
const KEYS: [&str; 2] = ["somebody", "nobody"];

#[tokio::test]
async fn no_unroutable_message_is_reported_as_delivered() {
    const MESSAGES: usize = 20_000;
    let url = vhost().await;
    let (rabbit, outsider) = (open(&url).await, Outsider::new(&url).await);
    let queue = outsider.queue(JOBS, KEYS[0]).await;
    let mut received = outsider.consume(&queue).await;
    let sent = stream::iter(0..MESSAGES)
        .map(|number| {
            let publisher = rabbit.publisher();
            async move {
                let body = number.to_string();
                let letter = Letter {
                    exchange: JOBS,
                    routing_key: KEYS[number % 2],
                    mandatory: true,
                    body: body.as_bytes(),
                    properties: BasicProperties::default(),
                };
                (number, publisher.publish(letter).await.unwrap())
            }
        })
        .buffer_unordered(16);
    let delivered: HashSet<usize> = sent
        .filter_map(async |(number, fate)| (fate == Fate::Routed).then_some(number))
        .collect()
        .await;
    let unroutable = delivered.iter().filter(|number| **number % 2 == 1).count();
    assert_eq!(unroutable, 0, "unroutable messages were reported as delivered");
    assert_eq!(delivered.len(), MESSAGES / 2, "messages were reported as lost");
    for _ in 0..MESSAGES / 2 {
        let body = super::next(&mut received).await.data;
        let number: usize = std::str::from_utf8(&body).unwrap().parse().unwrap();
        assert!(delivered.contains(&number), "{number} arrived and was reported as lost");
    }
}

/// The control: the same with many unconfirmed publishes on one channel.
#[tokio::test]
async fn control_with_many_unconfirmed_publishes_some_are() {
    const ROUND: usize = 500;
    const MOST: usize = 100_000;
    let url = vhost().await;
    let _topology = open(&url).await;
    let outsider = Outsider::new(&url).await;
    let queue = outsider.queue(JOBS, KEYS[0]).await;
    let _received = outsider.consume(&queue).await;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (mut misreported, mut sent) = (0, 0);
    while misreported == 0 && sent < MOST {
        let mut confirms = Vec::with_capacity(ROUND);
        for number in 0..ROUND {
            let confirm = outsider.channel.basic_publish(
                JOBS.into(),
                KEYS[number % 2].into(),
                options,
                b"{}",
                BasicProperties::default(),
            );
            confirms.push(confirm.await.unwrap());
        }
        for (number, confirm) in confirms.into_iter().enumerate() {
            let confirmed = confirm.await.unwrap();
            misreported += usize::from(number % 2 == 1 && confirmed == Confirmation::Ack(None));
        }
        sent += ROUND;
    }
    assert!(
        misreported > 0,
        "{sent} messages, and the race did not show: is the pool still needed?"
    );
}
