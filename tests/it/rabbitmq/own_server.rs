//! A broker that dies, starves, freezes, or speaks TLS: one of the test's own.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::time::Instant;
use vz_sync::adapters::rabbitmq::{LinkStatus, Rabbit, RabbitOptions, TlsOptions, doctor};
use vz_sync_actors::conformance::soon;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::domain::{Class, JobId};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::event_bus::EventBus as _;
use vz_sync_actors::ports::job_bus::{JobBus as _, JobConsumer};

use super::{job, must};
use crate::support::broker::ServerTls;
use crate::support::rabbitmq::{OwnBroker, open_with, secret};

/// Time for all to go on once the broker answers again.
const RECOVERY: Duration = Duration::from_secs(10);

/// Impatient, so that a test does not wait as long as a service does.
fn impatient() -> RabbitOptions {
    RabbitOptions {
        publish: Duration::from_millis(500),
        settle: Duration::from_millis(500),
        heartbeat: Duration::from_secs(2),
        longest_pause: Duration::from_millis(500),
        ..RabbitOptions::default()
    }
}

/// Publishes until it succeeds.
async fn publish_at_last(rabbit: &Rabbit, number: i64) {
    let bus = rabbit.job_bus();
    must("a publish to succeed", async {
        while bus.publish(&job(number, Class::Manual)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Consumes as the intake does: a consumer that ended is followed by another.
async fn receive(rabbit: &Rabbit, consumer: &mut Option<Box<dyn JobConsumer>>) -> JobId {
    let bus = rabbit.job_bus();
    must("a delivery", async {
        loop {
            if consumer.is_none() {
                *consumer = bus.consume(Lane::High, 5).await.ok();
            }
            match consumer {
                Some(open) => match open.next().await {
                    Ok(delivery) => {
                        let job = delivery.message.as_ref().expect("it can be read").job;
                        if delivery.ack().await.is_ok() {
                            return job;
                        }
                    }
                    Err(_) => *consumer = None,
                },
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_was_confirmed_survives_a_killed_broker_and_work_goes_on() {
    const JOBS: i64 = 100;
    let mut own = OwnBroker::start().await;
    let rabbit = open_with(&own.url(), impatient()).await;
    let bus = rabbit.job_bus();
    own.broker.settle_on_disk().await.unwrap();
    let mut confirmed = Vec::new();
    for number in 1..=JOBS {
        if bus.publish(&job(number, Class::Manual)).await.is_ok() {
            confirmed.push(JobId(number));
        }
    }
    assert!(!confirmed.is_empty());
    let mut source = rabbit.event_bus().subscribe().await.unwrap();
    own.broker.kill().await;
    assert!(must("the end of the source", source.next()).await.unwrap_err().is_transient());
    let refused = must("an answer", bus.publish(&job(0, Class::Manual))).await.unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    must("the link to notice", async {
        while rabbit.status().is_well() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    own.broker.run().await.unwrap();
    let back = Instant::now();
    publish_at_last(&rabbit, JOBS + 1).await;
    let publishing = back.elapsed();
    confirmed.push(JobId(JOBS + 1));
    let mut consumer = None;
    while !confirmed.is_empty() {
        let job = receive(&rabbit, &mut consumer).await;
        confirmed.retain(|left| *left != job);
    }
    let consuming = back.elapsed();
    assert!(rabbit.status().is_well());
    assert!(consuming < RECOVERY, "publishing after {publishing:?}, all after {consuming:?}");
    rabbit.event_bus().subscribe().await.unwrap();
}

#[tokio::test]
async fn an_alarm_refuses_publishes_fast_and_consuming_goes_on() {
    let own = OwnBroker::start().await;
    let rabbit = open_with(&own.url(), impatient()).await;
    let bus = rabbit.job_bus();
    bus.publish(&job(1, Class::Manual)).await.unwrap();
    bus.publish(&job(2, Class::Manual)).await.unwrap();
    own.broker.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await.unwrap();

    // The broker tells a connection of the alarm when it publishes.
    let caught = bus.publish(&job(3, Class::Manual)).await.unwrap_err();
    assert!(matches!(caught, PortError::OutcomeUnknown { .. }), "{caught}");
    must("the word of the broker", async {
        while !matches!(rabbit.status().publish, LinkStatus::Blocked { .. }) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let began = Instant::now();
    let refused = bus.publish(&job(4, Class::Manual)).await.unwrap_err();
    assert!(matches!(refused, PortError::Unavailable { .. }), "{refused}");
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(rabbit.status().consume, LinkStatus::Up);
    assert!(!rabbit.status().is_well());
    assert_eq!(rabbit.counts().blocked, 1);

    // Consuming, acknowledging and setting aside go on.
    let mut consumer = bus.consume(Lane::High, 1).await.unwrap();
    soon(consumer.next()).await.unwrap().ack().await.unwrap();
    soon(consumer.next()).await.unwrap().dead_letter("poison").await.unwrap();
    must("the dead letter", async {
        while bus.depths().await.unwrap().dead == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let findings = doctor::check(&secret(&own.url()), &impatient()).await.unwrap();
    assert!(findings.iter().any(|finding| finding.subject == "alarm"), "{findings:?}");

    own.broker.ctl(&["set_vm_memory_high_watermark", "0.9"]).await.unwrap();
    publish_at_last(&rabbit, 5).await;
    assert!(rabbit.status().is_well());
    // Job 3 was perhaps published: the broker takes it when the alarm ends.
    let first = receive(&rabbit, &mut Some(consumer)).await;
    assert!([JobId(3), JobId(5)].contains(&first), "{first}");
}

#[tokio::test]
async fn a_frozen_broker_costs_a_deadline_and_is_used_again_when_it_thaws() {
    let own = OwnBroker::start().await;
    let options = impatient();
    let rabbit = open_with(&own.url(), options.clone()).await;
    let bus = rabbit.job_bus();
    bus.publish(&job(1, Class::Manual)).await.unwrap();
    own.broker.freeze();
    let began = Instant::now();
    let caught = bus.publish(&job(2, Class::Manual)).await.unwrap_err();
    assert!(matches!(caught, PortError::OutcomeUnknown { .. }), "{caught}");
    assert!(began.elapsed() < options.publish * 4, "{:?}", began.elapsed());
    // No word from the other side: the heartbeat finds it out.
    must("the links to be given up", async {
        while !matches!(rabbit.status().publish, LinkStatus::Down { .. })
            || !matches!(rabbit.status().consume, LinkStatus::Down { .. })
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    own.broker.thaw();
    publish_at_last(&rabbit, 3).await;
    let mut consumer = None;
    let mut seen = Vec::new();
    while !(seen.contains(&JobId(1)) && seen.contains(&JobId(3))) {
        seen.push(receive(&rabbit, &mut consumer).await);
    }
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_to_ask_for() {
    let own = OwnBroker::start().await;
    let add = "ok = rabbit_auth_backend_internal:add_user(<<\"poor\">>, <<\"canary-pw\">>, <<\"test\">>), \
               ok = rabbit_auth_backend_internal:set_permissions(<<\"poor\">>, <<\"/\">>, <<>>, <<\".*\">>, <<\".*\">>, <<\"test\">>), \
               ok = rabbit_auth_backend_internal:add_user(<<\"exact\">>, <<\"canary-pw\">>, <<\"test\">>), \
               Ours = <<\"^(jobs|events)\\\\.vz\\\\..*\">>, \
               ok = rabbit_auth_backend_internal:set_permissions(<<\"exact\">>, <<\"/\">>, Ours, Ours, Ours, <<\"test\">>).";
    own.broker.ctl(&["eval", add]).await.unwrap();
    let poor = own.url().replace("guest:guest@", "poor:canary-pw@");
    let findings = doctor::check(&secret(&poor), &impatient()).await.unwrap();
    let last = findings.last().unwrap();
    assert_eq!((last.subject, last.is_well), ("permissions", false), "{findings:?}");
    assert!(!format!("{findings:?}").contains("canary"));
    let refused = Rabbit::open(&secret(&poor), impatient()).await.unwrap_err();
    assert!(matches!(refused, PortError::Refused { .. }), "{refused}");

    // What the doctor asks for suffices, for jobs and for events.
    let exact = own.url().replace("guest:guest@", "exact:canary-pw@");
    let findings = doctor::check(&secret(&exact), &impatient()).await.unwrap();
    assert!(findings.iter().all(|finding| finding.is_well), "{findings:?}");
    let rabbit = open_with(&exact, impatient()).await;
    rabbit.event_bus().subscribe().await.unwrap();
    rabbit.job_bus().publish(&job(1, Class::Manual)).await.unwrap();
    let mut consumer = rabbit.job_bus().consume(Lane::High, 1).await.unwrap();
    soon(consumer.next()).await.unwrap().dead_letter("poison").await.unwrap();
    assert_eq!(rabbit.job_bus().replay(JobId(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    let tls = certificates();
    let own = OwnBroker::start_with(Some(&tls)).await;
    let url = format!("amqps://guest:guest@127.0.0.1:{}/%2f", own.broker.tls_port);
    let trusting = RabbitOptions {
        tls: TlsOptions { ca_pem: Some(tls.ca.clone()), client: None },
        ..RabbitOptions::default()
    };
    let rabbit = open_with(&url, trusting.clone()).await;
    rabbit.job_bus().publish(&job(1, Class::Manual)).await.unwrap();
    let mut consumer = rabbit.job_bus().consume(Lane::High, 1).await.unwrap();
    soon(consumer.next()).await.unwrap().ack().await.unwrap();
    let findings = doctor::check(&secret(&url), &trusting).await.unwrap();
    assert!(findings.iter().all(|finding| finding.is_well), "{findings:?}");

    // Without that authority nothing is sent, the password least of all.
    let findings = doctor::check(&secret(&url), &RabbitOptions::default()).await.unwrap();
    assert_eq!(findings.last().map(|finding| finding.subject), Some("reachable"), "{findings:?}");
}

fn certificates() -> ServerTls {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    ServerTls { ca, certificate, key: key.serialize_pem() }
}
