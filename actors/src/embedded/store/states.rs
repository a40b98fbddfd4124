//! The table of states, with the orders in which a claim looks at it.
//!
//! One order per kind of claim, like the partial indexes of the schema: a
//! claim reads the head of each and nothing else, so that ten thousand teams
//! can be simulated. A state is changed through [`Changing`], which keeps the
//! orders true when it goes out of scope.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use time::OffsetDateTime;

use super::db::State;
use crate::domain::ScopeKey;

/// Why a state would be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody asked.
    Requested,
    /// It was put off and has waited. Its turn had come once, so it must not
    /// stand behind a backlog.
    PutOff,
    /// Its interval has passed.
    Schedule,
    /// It was never loaded.
    Backfill,
}

/// A place in an order: the first moment, in nanoseconds, at which the state
/// may be claimed, leaving aside who is paused.
type Place = (i128, ScopeKey);

#[derive(Default)]
pub(super) struct States {
    rows: BTreeMap<ScopeKey, State>,
    orders: [BTreeSet<Place>; 4],
}

impl States {
    pub fn get(&self, key: &ScopeKey) -> Option<&State> {
        self.rows.get(key)
    }

    pub fn get_mut(&mut self, key: &ScopeKey) -> Option<Changing<'_>> {
        let state = self.rows.get_mut(key)?;
        Some(Changing { key: *key, before: place(*key, state), state, orders: &mut self.orders })
    }

    /// Puts a state in unless there is one.
    pub fn ensure(&mut self, key: ScopeKey, state: impl FnOnce() -> State) -> Changing<'_> {
        let orders = &mut self.orders;
        let state = self.rows.entry(key).or_insert_with(|| {
            let state = state();
            let (kind, at) = place(key, &state);
            orders[kind as usize].insert(at);
            state
        });
        Changing { key, before: place(key, state), state, orders }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ScopeKey, &State)> {
        self.rows.iter()
    }

    pub fn values(&self) -> impl Iterator<Item = &State> {
        self.rows.values()
    }

    pub fn remove(&mut self, key: &ScopeKey) {
        if let Some(state) = self.rows.remove(key) {
            let (kind, at) = place(*key, &state);
            self.orders[kind as usize].remove(&at);
        }
    }

    /// States of one kind whose time has come, the longest due first.
    pub fn due(&self, kind: Kind, now: OffsetDateTime) -> impl Iterator<Item = (ScopeKey, &State)> {
        let now = now.unix_timestamp_nanos();
        let order = self.orders[kind as usize].iter().take_while(move |(at, _)| *at <= now);
        order.filter_map(|(_, key)| Some((*key, self.rows.get(key)?)))
    }
}

fn place(key: ScopeKey, state: &State) -> (Kind, Place) {
    let kind = match state {
        State { request: Some(_), .. } => Kind::Requested,
        State { wait: Some(_), .. } => Kind::PutOff,
        State { last_success_at: None, .. } => Kind::Backfill,
        State { .. } => Kind::Schedule,
    };
    let mut at = state.due_at();
    if let Some((until, _)) = state.wait {
        at = at.max(until);
    }
    if let Some(lease) = &state.lease {
        at = at.max(lease.until);
    }
    if let Some(again) = state.redispatch_at() {
        at = at.max(again);
    }
    (kind, (at.unix_timestamp_nanos(), key))
}

/// A state that is being changed.
pub(super) struct Changing<'a> {
    key: ScopeKey,
    before: (Kind, Place),
    state: &'a mut State,
    orders: &'a mut [BTreeSet<Place>; 4],
}

impl Deref for Changing<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let after = place(self.key, self.state);
        if after != self.before {
            self.orders[self.before.0 as usize].remove(&self.before.1);
            self.orders[after.0 as usize].insert(after.1);
        }
    }
}
