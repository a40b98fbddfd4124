//! A delivery on its way to a run, with the permit to run it.

use std::time::Duration;

use crate::intake::Permit;
use crate::ports::job_bus::{Delivery, JobMessage};

/// How long an order that nobody took rests before its delivery goes back:
/// an actor in backoff must not turn its job into a tight loop.
const REST: Duration = Duration::from_secs(1);
/// The same for a delivery that came back before.
const LONGER_REST: Duration = Duration::from_secs(5);

/// A delivery with its permit. Dropped before it was taken, the permit is
/// free at once and the delivery goes back to the bus after a rest.
pub struct Order {
    message: JobMessage,
    load: Option<(Delivery, Permit)>,
}

impl Order {
    /// Bundles a readable delivery with the permit to run it.
    pub fn new(message: JobMessage, delivery: Delivery, permit: Permit) -> Self {
        Self { message, load: Some((delivery, permit)) }
    }

    /// What the delivery says.
    pub fn message(&self) -> &JobMessage {
        &self.message
    }

    /// Takes it for a run.
    pub fn take(mut self) -> Option<(JobMessage, Delivery, Permit)> {
        let (delivery, permit) = self.load.take()?;
        Some((self.message.clone(), delivery, permit))
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let Some((delivery, permit)) = self.load.take() else { return };
        // Only the delivery rests: others may run meanwhile.
        drop(permit);
        let rest = if delivery.redelivered { LONGER_REST } else { REST };
        // Outside of a runtime the process is ending and the bus takes the
        // delivery back by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(rest).await;
                drop(delivery);
            });
        }
    }
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Order").field(&self.message).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Class, JobId, Scope, ScopeKey, TeamId};
    use crate::embedded::EmbeddedJobBus;
    use crate::intake::{InUse, Intake};
    use crate::kit::{ActorId, Mailbox, Roster};
    use crate::ports::job_bus::{JOB_SCHEMA_VERSION, JobBus as _};

    #[tokio::test(start_paused = true)]
    async fn an_order_that_nobody_takes_frees_its_permit_at_once_and_rests_its_delivery() {
        let roster = Roster::new(Arc::new(|| time::OffsetDateTime::UNIX_EPOCH), 1);
        let in_use = InUse::new(Mailbox::new::<Intake>(ActorId::root(), 1, &roster));
        let bus = EmbeddedJobBus::new();
        let message = JobMessage {
            schema_version: JOB_SCHEMA_VERSION,
            job: JobId(1),
            key: ScopeKey::new(TeamId(1), Scope::Environments),
            class: Class::Manual,
            trace_parent: None,
        };
        bus.publish(&message).await.unwrap();
        let lane = message.class.lane();
        let mut consumer = bus.consume(lane, 1).await.unwrap();
        for rest in [REST, LONGER_REST] {
            let delivery = consumer.next().await.unwrap();
            let permit = in_use.take(message.key.team, lane);
            assert_eq!(in_use.running().total(), 1);
            drop(Order::new(message.clone(), delivery, permit));
            assert_eq!(in_use.running().total(), 0, "others may run");
            tokio::time::sleep(rest / 2).await;
            assert_eq!(bus.unsettled(), 1, "the delivery still rests");
            tokio::time::sleep(rest).await;
            assert_eq!(bus.unsettled(), 0);
        }
    }
}
