//! An in-process twin of each port: what `vz-sync demo` and the simulation run
//! on, and the executable specification that the server adapters are held to.
//!
//! All of them live on tokio's clock, take chance from
//! [`Entropy`](crate::ports::entropy::Entropy) and share no globals, so a
//! simulated day can be replayed. Deliberately absent: faults (the testkit
//! wraps the ports to make them) and operating system entropy (the edge crate
//! brings it).

pub mod clock;
pub mod due_queue;
pub mod entropy;
pub mod event_bus;
pub mod job_bus;
pub mod limiter;
pub mod lock;
pub mod signals;
pub mod store;

pub use clock::EmbeddedClock;
pub use due_queue::EmbeddedDueQueue;
pub use entropy::SeededEntropy;
pub use event_bus::EmbeddedEventBus;
pub use job_bus::EmbeddedJobBus;
pub use limiter::EmbeddedLimiter;
pub use lock::EmbeddedLock;
pub use signals::EmbeddedSignals;
pub use store::{MemoryStore, StoreDefaults};

#[cfg(all(test, feature = "testkit"))]
mod exams;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a table of an embedded adapter. A panic elsewhere cannot leave these
/// half changed in a way worse than a crashed server would, so a poisoned
/// mutex is used on.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
