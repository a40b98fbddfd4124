//! The simulated platform: accounts, who may see what, and what each of them looks like.
//!
//! An account's estate is generated when it is first looked at, so that 10,000 accounts cost
//! nothing until they are used; each has its own lock. What changes the world is in
//! [`super::evolve`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::clock::Clock;
use super::estate::{Environment, Estate};
use super::listing::Listing;
use super::options::{AccountSpec, SimulatorOptions};
use super::render::{self, Form, OWNER};
use super::summary::AccountSummary;

/// Why the world refused an order.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WorldError {
    /// No account has this uid.
    #[error("no account has uid {0}; the simulator's accounts are in GET /control/world")]
    UnknownAccount(i64),
    /// The account has no such environment.
    #[error("account {uid} has no environment `{key}`; give its name, appid or domain")]
    UnknownEnvironment {
        /// The account.
        uid: i64,
        /// What was asked for.
        key: String,
    },
}

/// What a token can be turned into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TokenState {
    /// Works for every method.
    Valid,
    /// Works for these methods only, named as `environment.control.GetEnvs`; others answer 8202.
    Restricted {
        /// The allowed methods.
        methods: Vec<String>,
    },
    /// Answers that the user is not authenticated.
    Expired,
}

/// A key that opens an account: a personal access token or a session.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) account: usize,
    pub(crate) state: TokenState,
    pub(crate) from_signin: bool,
}

/// The platform itself.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) wide: bool,
    pub(crate) clock: Clock,
    accounts: Vec<Account>,
    keys: RwLock<HashMap<String, Key>>,
    /// Where an environment went that changed hands, by appid and name.
    transferred: Mutex<HashMap<String, usize>>,
    next_action: AtomicI64,
    next_session: AtomicI64,
    pub(crate) rng: Mutex<Xoshiro256PlusPlus>,
}

pub(crate) struct Account {
    pub(crate) spec: AccountSpec,
    estate: Mutex<Option<Box<Estate>>>,
}

/// A lock whose holder panicked still guards plain data: going on is better than a dead simulator.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(options: &SimulatorOptions) -> Self {
        let keys = options.accounts.iter().enumerate().map(|(account, spec)| {
            let state = match &spec.token_methods {
                Some(methods) => TokenState::Restricted { methods: methods.clone() },
                None => TokenState::Valid,
            };
            (spec.token.clone(), Key { account, state, from_signin: false })
        });
        Self {
            seed: options.seed,
            wide: options.wide,
            clock: Clock::new(options.start_time),
            keys: RwLock::new(keys.collect()),
            accounts: options
                .accounts
                .iter()
                .map(|spec| Account { spec: spec.clone(), estate: Mutex::new(None) })
                .collect(),
            transferred: Mutex::default(),
            next_action: AtomicI64::new(1),
            next_session: AtomicI64::new(1),
            rng: Mutex::new(Xoshiro256PlusPlus::seed_from_u64(options.seed)),
        }
    }

    /// The uids of all accounts.
    pub fn accounts(&self) -> Vec<i64> {
        self.accounts.iter().map(|account| account.spec.uid).collect()
    }

    /// An account's first token. Tokens replaced later are not shown.
    pub fn token(&self, uid: i64) -> Option<&str> {
        self.index(uid).ok().map(|index| self.accounts[index].spec.token.as_str())
    }

    pub(crate) fn account(&self, index: usize) -> &AccountSpec {
        &self.accounts[index].spec
    }

    pub(crate) fn account_count(&self) -> usize {
        self.accounts.len()
    }

    pub(crate) fn index(&self, uid: i64) -> Result<usize, WorldError> {
        // Uids are ascending in every uniform world; a custom one is small enough to search.
        let direct = self.accounts.binary_search_by_key(&uid, |account| account.spec.uid).ok();
        direct
            .or_else(|| self.accounts.iter().position(|account| account.spec.uid == uid))
            .ok_or(WorldError::UnknownAccount(uid))
    }

    /// Runs `work` on an account's estate, generating it if nobody has looked at it yet.
    pub(crate) fn with_estate<T>(&self, index: usize, work: impl FnOnce(&mut Estate) -> T) -> T {
        let account = &self.accounts[index];
        let mut estate = lock(&account.estate);
        let estate = estate
            .get_or_insert_with(|| Box::new(Estate::generate(self.seed, index, &account.spec)));
        work(estate)
    }

    /// The same for an estate that somebody has looked at; one that nobody saw has no history.
    pub(crate) fn with_known_estate(&self, index: usize, work: impl FnOnce(&mut Estate)) {
        if let Some(estate) = lock(&self.accounts[index].estate).as_mut() {
            work(estate);
        }
    }

    pub(crate) fn next_action_id(&self) -> i64 {
        self.next_action.fetch_add(1, Ordering::Relaxed)
    }

    // --- keys -------------------------------------------------------------------------------

    pub(crate) fn key(&self, session: &str) -> Option<Key> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }

    /// Opens a session; `None` when login and password do not fit.
    pub(crate) fn sign_in(&self, login: &str, password: &str) -> Option<(usize, String)> {
        let account = self
            .accounts
            .iter()
            .position(|account| account.spec.login == login && account.spec.password == password)?;
        let number = self.next_session.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::digest(format!("session {} {number}", self.seed));
        let session = hex(&digest[..16]);
        let key = Key { account, state: TokenState::Valid, from_signin: true };
        self.write_keys(|keys| keys.insert(session.clone(), key));
        Some((account, session))
    }

    /// Ends a session. A token lives on: it is revoked, not signed out.
    pub(crate) fn sign_out(&self, session: &str) {
        self.write_keys(|keys| {
            if keys.get(session).is_some_and(|key| key.from_signin) {
                keys.remove(session);
            }
        });
    }

    /// Changes what the account's tokens and sessions may do.
    pub fn set_token_state(&self, uid: i64, state: &TokenState) -> Result<(), WorldError> {
        let index = self.index(uid)?;
        self.write_keys(|keys| {
            for key in keys.values_mut().filter(|key| key.account == index) {
                key.state = state.clone();
            }
        });
        Ok(())
    }

    /// Revokes all the account's tokens and sessions and lets `token` open it from now on.
    pub fn replace_token(&self, uid: i64, token: &str) -> Result<(), WorldError> {
        let index = self.index(uid)?;
        self.write_keys(|keys| {
            keys.retain(|_, key| key.account != index);
            let key = Key { account: index, state: TokenState::Valid, from_signin: false };
            keys.insert(token.to_owned(), key);
        });
        Ok(())
    }

    fn write_keys<T>(&self, work: impl FnOnce(&mut HashMap<String, Key>) -> T) -> T {
        work(&mut self.keys.write().unwrap_or_else(PoisonError::into_inner))
    }

    // --- what is seen -----------------------------------------------------------------------

    /// The part of `owner`'s environments that `viewer` sees: all of its own, a percentage of a
    /// shared account, `None` of any other.
    pub(crate) fn visible_percent(&self, owner: usize, viewer: usize) -> Option<u8> {
        if owner == viewer {
            return Some(100);
        }
        let viewer = self.accounts[viewer].spec.uid;
        let shares = &self.accounts[owner].spec.shares;
        shares.iter().find(|share| share.member_uid == viewer).map(|share| share.percent)
    }

    /// The listing if its rendered bytes are up to date; rendering is left to [`Self::listing`].
    pub(crate) fn ready_listing(&self, index: usize, form: Form) -> Option<Listing> {
        let estate = lock(&self.accounts[index].estate);
        let estate = estate.as_ref()?;
        let listing = &estate.listings[form as usize];
        listing.shows(estate.version).then(|| listing.clone())
    }

    /// The listing of an account as its owner sees it, rendered where it is out of date. Takes
    /// tens of milliseconds for a big account: call it where blocking is allowed.
    pub(crate) fn listing(&self, index: usize, form: Form) -> Listing {
        let wide = self.wide;
        self.with_estate(index, |estate| {
            let version = estate.version;
            let listing = &mut estate.listings[form as usize];
            if !listing.shows(version) {
                *listing = listing.refreshed(&estate.environments, version, |environment, out| {
                    render::environment(environment, form, OWNER, wide, out);
                });
            }
            listing.clone()
        })
    }

    /// Renders every account's basic and lazy listings now, so that the next requests are served
    /// from memory: for measurements in which the platform must not be what takes the time.
    pub fn warm(&self) {
        for index in 0..self.accounts.len() {
            self.listing(index, Form::Basic);
            self.listing(index, Form::Lazy);
        }
    }

    /// The listing of an account as a collaborator sees it. Not kept: it is rare.
    pub(crate) fn shared_listing(&self, index: usize, form: Form, percent: u8) -> Listing {
        let wide = self.wide;
        self.with_estate(index, |estate| {
            let seen = estate.environments.iter().filter(|(ordinal, _)| shared(**ordinal, percent));
            let seen = seen.map(|(ordinal, environment)| (*ordinal, environment.clone())).collect();
            Listing::default().refreshed(&seen, estate.version, |environment, out| {
                render::environment(environment, form, COLLABORATOR, wide, out);
            })
        })
    }

    /// One environment as `viewer` sees it: its own, a shared one, or one that it gave away.
    pub(crate) fn find_for(&self, viewer: usize, key: &str) -> Option<(Environment, &'static str)> {
        let own = self.with_estate(viewer, |estate| {
            estate.find(key).and_then(|ordinal| estate.environments.get(&ordinal).cloned())
        });
        if let Some(environment) = own {
            return Some((environment, OWNER));
        }
        let viewer_uid = self.accounts[viewer].spec.uid;
        let given_away = lock(&self.transferred).get(key).copied();
        let sharing = (0..self.accounts.len()).filter(|&owner| owner != viewer);
        let sharing = sharing.filter(|&owner| self.visible_percent(owner, viewer).is_some());
        given_away.into_iter().chain(sharing).find_map(|owner| {
            let percent = self.visible_percent(owner, viewer).unwrap_or(0);
            self.with_estate(owner, |estate| {
                let ordinal = estate.find(key)?;
                let environment = estate.environments.get(&ordinal)?;
                let seen = shared(ordinal, percent) || environment.former_owner == Some(viewer_uid);
                seen.then(|| (environment.clone(), COLLABORATOR))
            })
        })
    }

    pub(crate) fn note_transfer(&self, environment: &Environment, to: usize) {
        let mut transferred = lock(&self.transferred);
        transferred.insert(environment.appid.clone(), to);
        transferred.insert(environment.name.clone(), to);
    }

    /// What an account holds now, to compare a mirror with.
    pub fn summary(&self, uid: i64) -> Result<AccountSummary, WorldError> {
        let index = self.index(uid)?;
        Ok(self.with_estate(index, |estate| AccountSummary::of(estate)))
    }

    /// Seconds since 1970 on the platform's clock.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }
}

/// `right` of an environment that the caller does not own. Only `OWNER` is known from samples;
/// what matters to a mirror is that this is something else.
pub(crate) const COLLABORATOR: &str = "USER";

fn shared(ordinal: u64, percent: u8) -> bool {
    ordinal % 100 < u64::from(percent)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
