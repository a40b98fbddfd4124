//! Who is in the tree: the records of all actors of one engine, as a tree, by id, and summed up.
//!
//! Reading it sends no message. There is one roster per engine and never a global one, so two
//! engines in one test process do not see each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use time::OffsetDateTime;

use super::line::Address;
use super::lock;
use super::metrics::{Counters, RosterMetrics};
use super::supervisor::StopReport;
use super::view::{ActorId, ActorView};
use super::vitals::{Vitals, WallClock};

/// The actors of one engine. Cheap to clone; all clones are the same roster.
#[derive(Clone)]
pub struct Roster(Arc<Inner>);

struct Inner {
    wall: WallClock,
    seed: u64,
    entries: Mutex<BTreeMap<ActorId, Arc<dyn Address>>>,
    counters: Counters,
    stops: Mutex<StopReport>,
}

/// All actors, nested by supervisor.
#[derive(Debug, Clone, Serialize)]
pub struct RosterTree {
    /// Actors without a supervisor: the root.
    pub actors: Vec<ActorNode>,
}

/// An actor and the actors below it.
#[derive(Debug, Clone, Serialize)]
pub struct ActorNode {
    /// The actor.
    #[serde(flatten)]
    pub actor: ActorView,
    /// Its children: a supervisor's in starting order, a pool's by id.
    pub children: Vec<ActorNode>,
}

/// Why an actor was not restarted on request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such actor.
    #[error("no actor has the id {0}")]
    Unknown(ActorId),
    /// Its owner cannot be reached, or it has none: the root is restarted with the process.
    #[error("actor {0} has no supervisor that takes requests now")]
    NoOwner(ActorId),
    /// It is not running.
    #[error("actor {0} is not running")]
    NotRunning(ActorId),
}

impl Roster {
    /// An empty roster. `wall` is used to show times only; `seed` makes restart jitter repeatable
    /// and differ from replica to replica.
    pub fn new(wall: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>, seed: u64) -> Self {
        Self(Arc::new(Inner {
            wall,
            seed,
            entries: Mutex::default(),
            counters: Counters::default(),
            stops: Mutex::default(),
        }))
    }

    /// All actors as a tree.
    pub fn tree(&self) -> RosterTree {
        let mut children: BTreeMap<String, Vec<(u32, ActorView)>> = BTreeMap::new();
        let mut top = Vec::new();
        let entries = self.addresses();
        let known: BTreeSet<&str> =
            entries.iter().map(|entry| entry.vitals().id().as_str()).collect();
        for entry in &entries {
            let vitals = entry.vitals();
            let ranked = (vitals.rank(), vitals.view());
            match vitals.id().parent().filter(|parent| known.contains(parent)) {
                Some(parent) => children.entry(parent.to_owned()).or_default().push(ranked),
                None => top.push(ranked),
            }
        }
        RosterTree { actors: nest(top, &mut children) }
    }

    /// One actor.
    pub fn get(&self, id: &ActorId) -> Option<ActorView> {
        let entry = lock(&self.0.entries).get(id).cloned();
        entry.map(|entry| entry.vitals().view())
    }

    /// The figures of all actors by kind.
    pub fn metrics(&self) -> RosterMetrics {
        let mut metrics = self.0.counters.snapshot();
        for entry in self.addresses() {
            let vitals = entry.vitals();
            metrics.kinds.entry(vitals.kind()).or_default().depth += vitals.depth();
        }
        metrics
    }

    /// Asks the owner of an actor to restart it now: a running one is stopped gracefully first, a
    /// waiting or failed one starts without further delay. Its past exits are forgotten.
    pub fn restart(&self, id: &ActorId) -> Result<(), ControlError> {
        let entry = self.entry(id)?;
        if entry.request_restart() { Ok(()) } else { Err(ControlError::NoOwner(id.clone())) }
    }

    fn entry(&self, id: &ActorId) -> Result<Arc<dyn Address>, ControlError> {
        let entry = lock(&self.0.entries).get(id).cloned();
        entry.ok_or_else(|| ControlError::Unknown(id.clone()))
    }

    fn addresses(&self) -> Vec<Arc<dyn Address>> {
        lock(&self.0.entries).values().cloned().collect()
    }

    pub(super) fn vitals(&self, id: ActorId, kind: &'static str, bound: usize) -> Vitals {
        Vitals::new(id, kind, bound, self.0.wall.clone(), self.0.counters.kind(kind))
    }

    pub(super) fn enrol(&self, address: Arc<dyn Address>) {
        let id = address.vitals().id().clone();
        let old = lock(&self.0.entries).insert(id, address);
        drop(old);
    }

    /// Forgets an actor, unless a newer one has taken its place.
    pub(super) fn forget(&self, address: &Arc<dyn Address>) {
        let mut entries = lock(&self.0.entries);
        let id = address.vitals().id();
        if entries.get(id).is_some_and(|entry| Arc::ptr_eq(entry.vitals(), address.vitals())) {
            let old = entries.remove(id);
            drop(entries);
            drop(old);
        }
    }

    pub(super) fn rejected(&self, kind: &'static str) {
        self.0.counters.kind(kind).rejected();
    }

    pub(super) fn note_stop(&self, id: &ActorId, in_time: bool) {
        let mut stops = lock(&self.0.stops);
        if in_time { stops.stopped.push(id.clone()) } else { stops.overdue.push(id.clone()) }
    }

    pub(super) fn take_stops(&self) -> StopReport {
        std::mem::take(&mut *lock(&self.0.stops))
    }

    /// Chance for jitter in `[0, 1)`: the same for the same seed, actor and restart, spread
    /// evenly over all of them (splitmix64 over an FNV-1a hash).
    pub(super) fn chance(&self, vitals: &Vitals) -> f64 {
        let mut x = vitals.id().as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        x = x.wrapping_add(self.0.seed).wrapping_add(u64::from(vitals.restarts()));
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Fault injection, for tests only.
#[cfg(any(test, feature = "testkit"))]
impl Roster {
    /// The actor panics after the messages that wait now.
    pub fn inject_panic(&self, id: &ActorId) -> Result<(), ControlError> {
        self.inject(id, super::line::Fault::Panic)
    }

    /// The actor fails after the messages that wait now.
    pub fn inject_error(&self, id: &ActorId) -> Result<(), ControlError> {
        self.inject(id, super::line::Fault::Error)
    }

    /// The actor is busy, after the messages that wait now, until it is let go or made to fail:
    /// what is sent to it meanwhile waits.
    pub fn hold(&self, id: &ActorId) -> Result<Hold, ControlError> {
        let (end, until) = tokio::sync::oneshot::channel();
        self.inject(id, super::line::Fault::Hold(until))?;
        Ok(Hold(end))
    }

    /// The actor is killed at once, in the middle of whatever it does.
    pub fn kill(&self, id: &ActorId) -> Result<(), ControlError> {
        let cell = self.entry(id)?.cell().ok_or_else(|| ControlError::NotRunning(id.clone()))?;
        super::slot::kill(&cell);
        Ok(())
    }

    fn inject(&self, id: &ActorId, fault: super::line::Fault) -> Result<(), ControlError> {
        let sent = self.entry(id)?.inject(fault);
        if sent { Ok(()) } else { Err(ControlError::NotRunning(id.clone())) }
    }
}

/// Keeps an actor busy; dropping it lets the actor go on unharmed.
#[cfg(any(test, feature = "testkit"))]
#[derive(Debug)]
#[must_use = "dropping it lets the actor go"]
pub struct Hold(tokio::sync::oneshot::Sender<super::line::Fault>);

#[cfg(any(test, feature = "testkit"))]
impl Hold {
    /// The actor panics with its backlog behind it.
    pub fn panic(self) {
        let _ = self.0.send(super::line::Fault::Panic);
    }

    /// The actor fails with its backlog behind it.
    pub fn fail(self) {
        let _ = self.0.send(super::line::Fault::Error);
    }
}

fn nest(
    mut level: Vec<(u32, ActorView)>,
    children: &mut BTreeMap<String, Vec<(u32, ActorView)>>,
) -> Vec<ActorNode> {
    // Entries come by id; the sort is stable, so unranked siblings keep that order.
    level.sort_by_key(|(rank, _)| *rank);
    level
        .into_iter()
        .map(|(_, actor)| {
            let below = children.remove(actor.id.as_str()).unwrap_or_default();
            ActorNode { children: nest(below, children), actor }
        })
        .collect()
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").field("actors", &lock(&self.0.entries).len()).finish()
    }
}
