//! A delivery on its way to a run, with the permit to run it.

use std::time::Duration;

use crate::intake::Permit;
use crate::ports::job_bus::{Delivery, JobMessage};

/// How long an order that nobody took rests before its delivery goes back:
/// an actor in backoff must not turn its job into a tight loop.
const REST: Duration = Duration::from_secs(1);
/// The same for a delivery that came back before.
const LONGER_REST: Duration = Duration::from_secs(5);

/// A delivery with its permit. Dropped before it was taken, it goes back to
/// the bus after a rest.
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
        let Some(load) = self.load.take() else { return };
        let rest = if load.0.redelivered { LONGER_REST } else { REST };
        // Outside of a runtime the process is ending and the bus takes the
        // delivery back by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(rest).await;
                drop(load);
            });
        }
    }
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Order").field(&self.message).finish()
    }
}
