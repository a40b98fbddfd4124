//! How the world changes: by its own course, step by step, or on order.
//!
//! What a user would have done leaves an action in the history; what the platform does by itself
//! (a `silent` mutation) leaves none, and a `late` one shows up in the history only later.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::index;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::actions::Action;
use super::change::{Change, apply};
use super::estate::{Estate, Underway, status};
use super::options::Rate;
use super::world::{World, WorldError, lock};

/// An order to change some environments of an account, each once.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Mutation {
    /// How many; the account's number of environments is the limit.
    pub count: Option<usize>,
    /// Or which part of them, rounded up.
    pub percent: Option<f64>,
    /// Which changes, in turn; all kinds when empty.
    pub kinds: Vec<Change>,
    /// The platform did it: no action is recorded.
    pub silent: bool,
    /// The action shows up in the history only after this many seconds.
    pub late_s: i64,
}

/// An environment that was created on order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// Its permanent id.
    pub appid: String,
    /// Its name.
    pub name: String,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// Whose environment.
    pub uid: i64,
    /// The environment's permanent id.
    pub appid: String,
    /// The action as the history calls it.
    pub action: &'static str,
}

/// How an action is put on record.
#[derive(Clone, Copy)]
struct Record {
    silent: bool,
    late_s: i64,
}

/// How many actions of an account are kept at most; the older half goes when there are more.
const HISTORY: usize = 20_000;

const ON_RECORD: Record = Record { silent: false, late_s: 0 };

impl World {
    /// Lets `count` things happen, one each on a seeded choice of account, and a second pass for
    /// each on a clock that stands still.
    pub fn step(&self, count: u64) -> Vec<Happening> {
        if self.account_count() == 0 {
            return Vec::new();
        }
        let happenings = (0..count).filter_map(|_| {
            self.clock.advance(1);
            let index = lock(&self.rng).random_range(0..self.account_count());
            self.step_account(index)
        });
        happenings.collect()
    }

    fn step_account(&self, index: usize) -> Option<Happening> {
        let login = &self.account(index).login;
        self.with_estate(index, |estate| {
            self.settle_estate(estate);
            let enough = estate.environments.len() * 2 > estate.initial_environments;
            let dice = estate.rng.random_range(0..100);
            if estate.environments.is_empty() || dice < 8 {
                let ordinal = estate.create(self.clock.now());
                return self.record(estate, ordinal, "CreateEnvironment", login, ON_RECORD);
            }
            let ordinal = estate.any()?;
            if dice < 15 && enough {
                let happening = self.record(estate, ordinal, "DeleteEnv", login, ON_RECORD);
                estate.remove(ordinal);
                return happening;
            }
            let change = Change::ALL[estate.rng.random_range(0..Change::ALL.len())];
            let slow = change == Change::Power && estate.rng.random_ratio(1, 3);
            let action = apply(estate, ordinal, change);
            let happening = self.record(estate, ordinal, action, login, ON_RECORD);
            if slow {
                begin(estate, ordinal);
            }
            happening
        })
    }

    /// Ends what is under way on every account.
    pub fn settle(&self) {
        for index in 0..self.account_count() {
            self.with_known_estate(index, |estate| self.settle_estate(estate));
        }
    }

    fn settle_estate(&self, estate: &mut Estate) {
        for underway in std::mem::take(&mut estate.underway) {
            if let Some(environment) = estate.environments.get_mut(&underway.ordinal) {
                environment.status = underway.settles_to;
                for node in &mut environment.nodes {
                    node.status = underway.settles_to;
                }
            }
            estate.touch(underway.ordinal);
            let now = self.clock.now();
            if let Some(action) =
                estate.actions.iter_mut().rev().find(|action| action.id == underway.action_id)
            {
                action.ended_at = Some(now);
            }
        }
    }

    /// Changes some environments of an account and names those it changed.
    pub fn mutate(&self, uid: i64, order: &Mutation) -> Result<Vec<String>, WorldError> {
        let index = self.index(uid)?;
        let login = &self.account(index).login;
        let kinds = if order.kinds.is_empty() { &Change::ALL[..] } else { &order.kinds[..] };
        let record = Record { silent: order.silent, late_s: order.late_s };
        Ok(self.with_estate(index, |estate| {
            self.settle_estate(estate);
            let all = estate.environments.len();
            let by_percent = order
                .percent
                .map(|percent| (all as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil() as usize);
            let count = order.count.or(by_percent).unwrap_or(1).min(all);
            let mut chosen = index::sample(&mut estate.rng, all, count).into_vec();
            chosen.sort_unstable();
            let ordinals = estate.environments.keys().copied().collect::<Vec<_>>();
            let changed = chosen.into_iter().zip(kinds.iter().cycle()).map(|(place, &change)| {
                let ordinal = ordinals[place];
                let action = apply(estate, ordinal, change);
                self.record(estate, ordinal, action, login, record);
                estate.environments[&ordinal].name.clone()
            });
            changed.collect()
        }))
    }

    /// Creates an environment.
    pub fn create(&self, uid: i64) -> Result<Created, WorldError> {
        let index = self.index(uid)?;
        let login = &self.account(index).login;
        Ok(self.with_estate(index, |estate| {
            let ordinal = estate.create(self.clock.now());
            self.record(estate, ordinal, "CreateEnvironment", login, ON_RECORD);
            let environment = &estate.environments[&ordinal];
            Created { appid: environment.appid.clone(), name: environment.name.clone() }
        }))
    }

    /// Deletes an environment; `silent` when the platform does it without an action.
    pub fn delete(&self, uid: i64, key: &str, silent: bool) -> Result<(), WorldError> {
        let index = self.index(uid)?;
        let login = &self.account(index).login;
        self.with_estate(index, |estate| {
            let ordinal = find(estate, key)?;
            self.settle_estate(estate);
            let record = Record { silent, late_s: 0 };
            self.record(estate, ordinal, "DeleteEnv", login, record);
            estate.remove(ordinal);
            Ok(())
        })
    }

    /// Gives an environment to another account. With `still_visible` the former owner may still
    /// ask for it by name and then sees the new owner's uid.
    pub fn transfer(
        &self,
        uid: i64,
        key: &str,
        to_uid: i64,
        still_visible: bool,
    ) -> Result<(), WorldError> {
        let from = self.index(uid)?;
        let to = self.index(to_uid)?;
        let login = &self.account(from).login;
        let mut environment = self.with_estate(from, |estate| {
            let ordinal = find(estate, key)?;
            self.settle_estate(estate);
            self.record(estate, ordinal, "ConfirmTransferRequest", login, ON_RECORD);
            estate.remove(ordinal).ok_or_else(|| unknown(estate, key))
        })?;
        environment.uid = to_uid;
        environment.former_owner = still_visible.then_some(uid);
        self.note_transfer(&environment, to);
        self.with_estate(to, |estate| estate.adopt(environment));
        Ok(())
    }

    /// Puts an action on record, before a deletion takes the environment away.
    fn record(
        &self,
        estate: &mut Estate,
        ordinal: u64,
        kind: &'static str,
        login: &str,
        how: Record,
    ) -> Option<Happening> {
        let environment = estate.environments.get(&ordinal)?;
        let now = self.clock.now();
        let happening =
            Happening { uid: estate.uid, appid: environment.appid.clone(), action: kind };
        if !how.silent {
            if estate.actions.len() >= HISTORY {
                estate.actions.drain(..HISTORY / 2);
            }
            estate.actions.push(Action {
                id: self.next_action_id(),
                kind,
                appid: environment.appid.clone(),
                env: environment.name.clone(),
                uid: estate.uid,
                login: login.to_owned(),
                started_at: now,
                ended_at: Some(now),
                result: 0,
                visible_at: now + how.late_s,
            });
        }
        Some(happening)
    }
}

fn find(estate: &Estate, key: &str) -> Result<u64, WorldError> {
    estate.find(key).ok_or_else(|| unknown(estate, key))
}

fn unknown(estate: &Estate, key: &str) -> WorldError {
    WorldError::UnknownEnvironment { uid: estate.uid, key: key.to_owned() }
}

/// Turns the change just recorded into one that is still under way.
fn begin(estate: &mut Estate, ordinal: u64) {
    let Some(environment) = estate.environments.get_mut(&ordinal) else { return };
    let Some(action) = estate.actions.last_mut() else { return };
    let settles_to = environment.status;
    environment.status =
        if settles_to == status::RUNNING { status::LAUNCHING } else { status::STOPPING };
    action.ended_at = None;
    let action_id = action.id;
    estate.underway.push(Underway { ordinal, action_id, settles_to });
    estate.touch(ordinal);
}

/// The world's own course, until the simulator stops.
pub(crate) async fn keep_evolving(shared: Arc<Shared>, rate: Rate, stop: CancellationToken) {
    let mut beat = tokio::time::interval(rate.period());
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => drop(shared.world.step(1)),
        }
    }
}
