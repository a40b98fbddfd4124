//! The exams of both buses.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Confirmation;
use vz_sync::adapters::rabbitmq::Rabbit;
use vz_sync::adapters::rabbitmq::topology::JOBS;
use vz_sync_actors::conformance::job_bus::ForeignPublisher;
use vz_sync_actors::conformance::{event_bus as events, job_bus as jobs};
use vz_sync_actors::domain::job::Lane;

use super::Outsider;
use crate::support::rabbitmq::{open, vhost};

#[async_trait]
impl ForeignPublisher for Outsider {
    async fn publish_raw(&self, lane: Lane, body: &str) {
        let confirmed = self.publish(JOBS, lane.as_str(), body).await;
        assert_eq!(confirmed, Confirmation::Ack(None));
    }
}

async fn a_job_bus() -> jobs::Subject {
    let url = vhost().await;
    let rabbit: Rabbit = open(&url).await;
    let foreign = Arc::new(Outsider::new(&url).await);
    jobs::Subject { bus: Arc::new(rabbit.job_bus()), foreign }
}

/// Two replicas, each with connections of its own.
async fn an_event_bus() -> events::Subject {
    let url = vhost().await;
    let (here, there) = tokio::join!(open(&url), open(&url));
    events::Subject { here: Arc::new(here.event_bus()), there: Arc::new(there.event_bus()) }
}

vz_sync_actors::job_bus_exam!([tokio::test], a_job_bus());
vz_sync_actors::event_bus_exam!([tokio::test], an_event_bus());
