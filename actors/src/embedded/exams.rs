//! The embedded adapters sit every exam.

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{
    EmbeddedClock, EmbeddedDueQueue, EmbeddedEventBus, EmbeddedJobBus, EmbeddedLock,
    EmbeddedSignals, MemoryStore, SeededEntropy, StoreDefaults,
};
use crate::conformance::job_bus::ForeignPublisher;
use crate::conformance::{
    PausedPace, StoreSubject, due_queue as queue, event_bus as events, job_bus as jobs,
    lock as locks, signals as wakes,
};
use crate::domain::job::Lane;

fn a_queue() -> queue::Subject {
    queue::Subject { queue: Arc::new(EmbeddedDueQueue::new()), pace: Arc::new(PausedPace) }
}

fn a_lock() -> locks::Subject {
    locks::Subject { lock: Arc::new(EmbeddedLock::new()), pace: Arc::new(PausedPace) }
}

#[async_trait]
impl ForeignPublisher for EmbeddedJobBus {
    async fn publish_raw(&self, lane: Lane, body: &str) {
        Self::publish_raw(self, lane, body);
    }
}

fn a_job_bus() -> jobs::Subject {
    let bus = Arc::new(EmbeddedJobBus::new());
    jobs::Subject { bus: Arc::clone(&bus) as _, foreign: bus }
}

fn an_event_bus() -> events::Subject {
    let bus = Arc::new(EmbeddedEventBus::new());
    events::Subject { here: Arc::clone(&bus) as _, there: bus }
}

fn some_signals() -> wakes::Subject {
    let signals = Arc::new(EmbeddedSignals::new());
    wakes::Subject { here: Arc::clone(&signals) as _, there: signals }
}

fn memory_store() -> MemoryStore {
    let start = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let clock = Arc::new(EmbeddedClock::starting_at(start));
    MemoryStore::new(clock, Arc::new(SeededEntropy::new(1)), StoreDefaults::default())
}

fn behind_every_port(store: MemoryStore) -> StoreSubject {
    let store = Arc::new(store);
    StoreSubject {
        store: Arc::clone(&store) as _,
        reads: Arc::clone(&store) as _,
        replicas: Arc::clone(&store) as _,
        platforms: Arc::clone(&store) as _,
        outbox: Arc::clone(&store) as _,
        upkeep: Arc::clone(&store) as _,
        teams: Arc::clone(&store) as _,
        credentials: store,
        pace: Arc::new(PausedPace),
    }
}

fn a_store() -> StoreSubject {
    behind_every_port(memory_store())
}

crate::due_queue_exam!([tokio::test(start_paused = true)], ready(a_queue()));
crate::lock_exam!([tokio::test(start_paused = true)], ready(a_lock()));
crate::job_bus_exam!([tokio::test(start_paused = true)], ready(a_job_bus()));
crate::event_bus_exam!([tokio::test(start_paused = true)], ready(an_event_bus()));
crate::signals_exam!([tokio::test(start_paused = true)], ready(some_signals()));
crate::store_exam!([tokio::test(start_paused = true)], ready(a_store()));

/// The control of the fencing exam: without the guard it must fail.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "Overtaken")]
async fn without_the_guard_an_overtaken_run_commits() {
    let subject = behind_every_port(memory_store().without_guard());
    crate::conformance::store_apply::an_overtaken_run_commits_nothing(&subject).await;
}
