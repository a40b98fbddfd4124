//! What the doctor says of a broker.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use vz_sync::adapters::rabbitmq::RabbitOptions;
use vz_sync::adapters::rabbitmq::doctor::{Finding, check};
use vz_sync::adapters::rabbitmq::topology::{JOBS, UNROUTED, queue_of};
use vz_sync_actors::domain::Class;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::job_bus::JobBus as _;

use super::{Outsider, job};
use crate::support::rabbitmq::{open, secret, vhost};

async fn examine(url: &str) -> Vec<Finding> {
    let findings = check(&secret(url), &RabbitOptions::default()).await.unwrap();
    assert!(findings.iter().all(|finding| finding.is_well == finding.remedy.is_empty()));
    findings
}

fn troubles(findings: &[Finding]) -> Vec<&str> {
    findings.iter().filter(|finding| !finding.is_well).map(|finding| finding.subject).collect()
}

#[tokio::test]
async fn a_healthy_broker_has_no_troubles() {
    let findings = examine(&vhost().await).await;
    assert_eq!(troubles(&findings), [""; 0], "{findings:?}");
    let version = findings.iter().find(|finding| finding.subject == "version").unwrap();
    assert!(version.detail.starts_with("RabbitMQ "), "{version:?}");
    let subjects: Vec<_> = findings.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, ["version", "encryption", "login", "topology", "publish", "queues"]);
}

#[tokio::test]
async fn each_trouble_is_named_with_what_to_do() {
    let url = vhost().await;
    let wrong = url.replace("guest:guest@", "guest:canary-password@");
    let findings = examine(&wrong).await;
    assert_eq!(troubles(&findings), ["login"]);
    assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
    let unreachable = "amqp://guest:canary-password@127.0.0.1:1/x";
    let findings = examine(unreachable).await;
    assert_eq!(troubles(&findings), ["reachable"]);
    assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
}

#[tokio::test]
async fn a_tap_on_unroutable_messages_is_found() {
    let url = vhost().await;
    let _topology = open(&url).await;
    let operator = Outsider::new(&url).await;
    operator.queue(UNROUTED, "").await;
    assert_eq!(troubles(&examine(&url).await), ["publish"]);
}

#[tokio::test]
async fn dead_letters_and_foreign_arguments_are_found() {
    let url = vhost().await;
    let operator = Outsider::new(&url).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let low = queue_of(Lane::Low);
    operator.channel.queue_declare(low.into(), durable, FieldTable::default()).await.unwrap();
    let bus = open(&url).await.job_bus();
    bus.publish(&job(1, Class::Manual)).await.unwrap();
    let mut consumer = bus.consume(Lane::High, 1).await.unwrap();
    consumer.next().await.unwrap().dead_letter("poison").await.unwrap();
    assert_eq!(troubles(&examine(&url).await), ["topology", "dead letters"]);
}

/// The alternate exchange with a queue counts as a route, which is why it has
/// none: decision 015.
#[tokio::test]
async fn control_a_queue_behind_the_alternate_exchange_hides_a_lost_binding() {
    let url = vhost().await;
    let (bus, operator) = (open(&url).await.job_bus(), Outsider::new(&url).await);
    let tap = operator.queue(UNROUTED, "").await;
    let high = queue_of(Lane::High);
    let none = FieldTable::default;
    operator.channel.queue_unbind(high.into(), JOBS.into(), "high".into(), none()).await.unwrap();
    bus.publish(&job(1, Class::Manual)).await.expect("it counts as delivered");
    assert_eq!((operator.count(high).await, operator.count(&tap).await), (0, 1));
    let bind = QueueBindOptions::default();
    operator
        .channel
        .queue_bind(high.into(), JOBS.into(), "high".into(), bind, none())
        .await
        .unwrap();
}
