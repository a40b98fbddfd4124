//! The due queue that goes on without its server.
//!
//! While the server is away, what becomes due waits in this process, and the
//! dispatcher takes it from here: in the same order, under the same cap on
//! what is published and not leased. Nothing is decided anew for an outage.
//! What waits here is lost with the process, and the store's re-dispatch
//! repairs that as it repairs a flushed server.
//!
//! Absent on purpose: counting failures and pausing. Whether the server is
//! worth asking is the adapter's to know, and its refusal costs no time. Nor is
//! what waits here moved to the server when it is back: it goes first, and is
//! soon gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tracing::{info, warn};

use crate::domain::ScopeKey;
use crate::domain::job::Lane;
use crate::embedded::EmbeddedDueQueue;
use crate::ports::due_queue::{DueEntry, DueQueue, QueueDepths};
use crate::ports::{PortError, PortResult};

/// A due queue on a server with one in this process beside it.
pub struct StandbyQueue {
    server: Arc<dyn DueQueue>,
    here: EmbeddedDueQueue,
    away: AtomicBool,
}

impl StandbyQueue {
    /// Stands by for `server`.
    pub fn new(server: Arc<dyn DueQueue>) -> Self {
        Self { server, here: EmbeddedDueQueue::new(), away: AtomicBool::new(false) }
    }

    /// What the server answered, if it did; the first silence and the first
    /// answer after it are logged.
    fn heard<T>(&self, answer: PortResult<T>) -> Result<T, PortError> {
        let was_away = self.away.swap(answer.is_err(), Ordering::AcqRel);
        match &answer {
            Err(error) if !was_away => {
                warn!(event = "vz_sync_queue_away", error = %error, "the due queue's server does not serve: due scopes wait in this process");
            }
            Ok(_) if was_away => {
                info!(event = "vz_sync_queue_back", "the due queue's server serves again");
            }
            _ => {}
        }
        answer
    }
}

#[async_trait]
impl DueQueue for StandbyQueue {
    /// Perhaps in both places, when the server took it and did not say so: it
    /// is published twice then, which is harmless.
    async fn enqueue(&self, entries: &[DueEntry]) -> PortResult<()> {
        match self.heard(self.server.enqueue(entries).await) {
            Ok(()) => Ok(()),
            Err(_) => self.here.enqueue(entries).await,
        }
    }

    async fn pop(&self, lane: Lane, limit: usize, lease: Duration) -> PortResult<Vec<DueEntry>> {
        let mut popped = self.here.pop(lane, limit, lease).await?;
        let room = limit - popped.len();
        // A pop without a limit is asked for what it puts back.
        if room == 0 && limit > 0 {
            return Ok(popped);
        }
        if let Ok(more) = self.heard(self.server.pop(lane, room, lease).await) {
            let known: HashSet<ScopeKey> = popped.iter().map(|entry| entry.key).collect();
            popped.extend(more.into_iter().filter(|entry| !known.contains(&entry.key)));
        }
        Ok(popped)
    }

    /// What the server does not hear comes again after its lease: a duplicate.
    async fn confirm(&self, keys: &[ScopeKey]) -> PortResult<()> {
        let _ = self.heard(self.server.confirm(keys).await);
        self.here.confirm(keys).await
    }

    async fn put_back(&self, keys: &[ScopeKey]) -> PortResult<()> {
        let _ = self.heard(self.server.put_back(keys).await);
        self.here.put_back(keys).await
    }

    async fn depths(&self) -> PortResult<QueueDepths> {
        let here = self.here.depths().await?;
        let answer = self.heard(self.server.depths().await);
        let away = answer.is_err();
        let there = answer.unwrap_or_default();
        Ok(QueueDepths {
            high: there.high + here.high,
            normal: there.normal + here.normal,
            low: there.low + here.low,
            in_flight: there.in_flight + here.in_flight,
            bad: there.bad,
            standby: here.high + here.normal + here.low,
            away,
        })
    }

    async fn position(&self, key: ScopeKey) -> PortResult<Option<u64>> {
        match self.here.position(key).await? {
            Some(place) => Ok(Some(place)),
            // Away, what is queued is what is queued here.
            None => Ok(self.heard(self.server.position(key).await).unwrap_or_default()),
        }
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::conformance::{PausedPace, due_queue as queue};
    use crate::domain::{Class, JobId, Scope, TeamId};
    use crate::embedded::{EmbeddedClock, EmbeddedLock, MemoryStore, SeededEntropy, StoreDefaults};
    use crate::testkit::line::Line;

    const LEASE: Duration = Duration::from_secs(30);

    /// A server behind a line that can be cut, and who stands by for it.
    fn standing_by() -> (Line, StandbyQueue) {
        let clock = Arc::new(EmbeddedClock::starting_at(crate::testkit::universe::DAWN));
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = MemoryStore::new(clock, entropy, StoreDefaults::default());
        let (lock, queue) = (EmbeddedLock::new(), EmbeddedDueQueue::new());
        let line = Line::new(store, Arc::new(lock), Arc::new(queue));
        (line.clone(), StandbyQueue::new(Arc::new(line)))
    }

    fn subject(away: bool) -> queue::Subject {
        let (line, queue) = standing_by();
        if away {
            line.cut_queue();
        }
        queue::Subject { queue: Arc::new(queue), pace: Arc::new(PausedPace) }
    }

    mod with_its_server {
        use super::*;
        crate::due_queue_exam!([tokio::test(start_paused = true)], ready(subject(false)));
    }

    mod without_its_server {
        use super::*;
        crate::due_queue_exam!([tokio::test(start_paused = true)], ready(subject(true)));
    }

    fn entry(team: i64) -> DueEntry {
        DueEntry {
            key: ScopeKey::new(TeamId(team), Scope::Environments),
            job: JobId(team),
            class: Class::Manual,
            deadline: crate::testkit::universe::DAWN + Duration::from_secs(team.unsigned_abs()),
            trace_parent: None,
        }
    }

    async fn popped(queue: &dyn DueQueue, limit: usize) -> Vec<i64> {
        let popped = queue.pop(Lane::High, limit, LEASE).await.unwrap();
        popped.into_iter().map(|entry| entry.key.team.0).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_out_an_outage_goes_first_and_once() {
        let (line, queue) = standing_by();
        queue.enqueue(&[entry(1), entry(2)]).await.unwrap();
        line.cut_queue();
        assert!(line.enqueue(&[entry(3)]).await.is_err(), "control: without a standby it is lost");
        queue.enqueue(&[entry(2), entry(3)]).await.unwrap();
        let depths = queue.depths().await.unwrap();
        assert_eq!((depths.high, depths.standby, depths.away), (2, 2, true));
        line.mend();
        let depths = queue.depths().await.unwrap();
        assert_eq!((depths.high, depths.standby, depths.away), (4, 2, false));
        assert_eq!(popped(&queue, 9).await, [2, 3, 1], "2 was in both places");
        let keys = [1, 2, 3].map(|team| entry(team).key);
        queue.confirm(&keys).await.unwrap();
        assert_eq!(queue.depths().await.unwrap(), QueueDepths::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_confirm_that_the_server_does_not_hear_costs_a_duplicate() {
        let (line, queue) = standing_by();
        queue.enqueue(&[entry(1)]).await.unwrap();
        assert_eq!(popped(&queue, 1).await, [1]);
        line.cut_queue();
        queue.confirm(&[entry(1).key]).await.unwrap();
        line.mend();
        tokio::time::advance(LEASE).await;
        assert_eq!(popped(&queue, 1).await, [1]);
    }
}
