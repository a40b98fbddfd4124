//! The job bus over quorum queues, one per lane.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::Instant;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::job_bus::{BusDepths, JobBus, JobConsumer, JobMessage};

use super::consumer::LaneConsumer;
use super::error::{unavailable, within};
use super::message::{job_body, job_letter};
use super::publisher::Fate;
use super::rabbit::Shared;
use super::topology::{DEAD, queue_of};

/// Jobs to whichever replica has room.
#[derive(Debug, Clone)]
pub struct RabbitJobBus {
    pub(super) shared: Arc<Shared>,
}

impl RabbitJobBus {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) async fn send(&self, message: &JobMessage) -> PortResult<()> {
        let body = job_body(message)?;
        let began = Instant::now();
        match self.shared.jobs.publish(job_letter(message, &body)).await? {
            Fate::Routed => Ok(()),
            Fate::Returned(reason) => {
                let lane = message.class.lane().as_str();
                tracing::error!(event = "vz_sync_amqp_returned", job_id = message.job.0, lane, reason = %reason, "no queue is bound for the lane; the topology is asserted again");
                if let Err(error) = self.shared.reassert(began).await {
                    tracing::warn!(event = "vz_sync_amqp_assert_failed", %error, "the topology could not be asserted");
                }
                Err(unavailable(format!("job {}: no queue is bound for lane {lane}", message.job)))
            }
        }
    }
}

#[async_trait]
impl JobBus for RabbitJobBus {
    async fn publish(&self, message: &JobMessage) -> PortResult<()> {
        self.send(message).await
    }

    async fn consume(&self, lane: Lane, prefetch: usize) -> PortResult<Box<dyn JobConsumer>> {
        // A consumer that ended may have lost its queue.
        self.shared.reassert(Instant::now()).await?;
        Ok(Box::new(LaneConsumer::open(&self.shared, lane, prefetch).await?))
    }

    async fn depths(&self) -> PortResult<BusDepths> {
        let session = self.shared.consume.session()?;
        within(self.shared.options.ask, "reading queue lengths", async {
            // A channel of its own, because a queue that is missing closes it.
            let channel = session.connection.create_channel().await?;
            let depth = async |queue: &'static str| {
                let passive = QueueDeclareOptions { passive: true, ..Default::default() };
                let queue =
                    channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
                lapin::Result::Ok(u64::from(queue.message_count()))
            };
            Ok(BusDepths {
                high: depth(queue_of(Lane::High)).await?,
                normal: depth(queue_of(Lane::Normal)).await?,
                low: depth(queue_of(Lane::Low)).await?,
                dead: depth(DEAD).await?,
            })
        })
        .await
    }
}
