//! The due queue inside one process: the same two sets as in Redis, waiting
//! and in flight, with a payload beside each member.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::locked;
use crate::domain::job::Lane;
use crate::domain::{Scope, ScopeKey, TeamId};
use crate::ports::PortResult;
use crate::ports::due_queue::{DueEntry, DueQueue, QueueDepths, RANK_SPAN};

/// Sorts before every real key of the same score.
const LOWEST: ScopeKey = ScopeKey::new(TeamId(i64::MIN), Scope::Environments);

/// Which scopes may run now, ordered by score.
#[derive(Debug, Default)]
pub struct EmbeddedDueQueue {
    sets: Mutex<Sets>,
}

#[derive(Debug, Default)]
struct Sets {
    order: BTreeSet<(i64, ScopeKey)>,
    waiting: HashMap<ScopeKey, DueEntry>,
    in_flight: HashMap<ScopeKey, InFlight>,
}

#[derive(Debug)]
struct InFlight {
    entry: DueEntry,
    deadline: Instant,
}

impl Sets {
    /// `ZADD LT`, with the payload following the score.
    fn add(&mut self, entry: DueEntry) {
        let score = entry.score();
        if let Some(queued) = self.waiting.get(&entry.key) {
            if queued.score() <= score {
                return;
            }
            self.order.remove(&(queued.score(), entry.key));
        }
        self.order.insert((score, entry.key));
        self.waiting.insert(entry.key, entry);
    }

    fn put_back(&mut self, key: ScopeKey) {
        if let Some(popped) = self.in_flight.remove(&key) {
            self.add(popped.entry);
        }
    }

    fn put_back_overdue(&mut self) {
        let now = Instant::now();
        let overdue: Vec<ScopeKey> = self
            .in_flight
            .iter()
            .filter(|(_, popped)| popped.deadline <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in overdue {
            self.put_back(key);
        }
    }
}

impl EmbeddedDueQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses everything, as a flushed server does.
    pub fn flush(&self) {
        *locked(&self.sets) = Sets::default();
    }
}

#[async_trait]
impl DueQueue for EmbeddedDueQueue {
    async fn enqueue(&self, entries: &[DueEntry]) -> PortResult<()> {
        let mut sets = locked(&self.sets);
        for entry in entries {
            sets.add(entry.clone());
        }
        Ok(())
    }

    async fn pop(&self, lane: Lane, limit: usize, lease: Duration) -> PortResult<Vec<DueEntry>> {
        let mut sets = locked(&self.sets);
        sets.put_back_overdue();
        let (first, last) = lane.ranks();
        let from = i64::from(first) * RANK_SPAN;
        let to = (i64::from(last) + 1) * RANK_SPAN;
        let best: Vec<(i64, ScopeKey)> = sets
            .order
            .range((from, LOWEST)..)
            .take_while(|(score, _)| *score < to)
            .take(limit)
            .copied()
            .collect();
        let deadline = Instant::now() + lease;
        let mut popped = Vec::with_capacity(best.len());
        for member in best {
            sets.order.remove(&member);
            if let Some(entry) = sets.waiting.remove(&member.1) {
                popped.push(entry.clone());
                sets.in_flight.insert(member.1, InFlight { entry, deadline });
            }
        }
        Ok(popped)
    }

    async fn confirm(&self, keys: &[ScopeKey]) -> PortResult<()> {
        let mut sets = locked(&self.sets);
        for key in keys {
            sets.in_flight.remove(key);
        }
        Ok(())
    }

    async fn put_back(&self, keys: &[ScopeKey]) -> PortResult<()> {
        let mut sets = locked(&self.sets);
        for key in keys {
            sets.put_back(*key);
        }
        Ok(())
    }

    async fn depths(&self) -> PortResult<QueueDepths> {
        let sets = locked(&self.sets);
        let mut depths =
            QueueDepths { in_flight: sets.in_flight.len() as u64, ..QueueDepths::default() };
        for entry in sets.waiting.values() {
            match entry.class.lane() {
                Lane::High => depths.high += 1,
                Lane::Normal => depths.normal += 1,
                Lane::Low => depths.low += 1,
            }
        }
        Ok(depths)
    }

    async fn position(&self, key: ScopeKey) -> PortResult<Option<u64>> {
        let sets = locked(&self.sets);
        Ok(sets.waiting.get(&key).map(|entry| {
            let ahead = sets.order.range(..(entry.score(), key));
            ahead.count() as u64
        }))
    }
}
