//! Configuration: embedded defaults < file < environment < flags.
//!
//! [`Loaded::load`] is the only way in. It takes the environment as a map, so
//! that no test has to change the process's own. Everything that is wrong is
//! reported at once, by key, with the range that would be allowed; no message
//! quotes a value of a secret key. Deliberately absent: reloading at run time
//! (what changes while running, such as the rollout, lives in Postgres).

mod check;
mod cidr;
mod error;
mod keys;
mod layers;
mod load;
mod model;
mod print;
mod units;

pub use cidr::CidrRange;
pub use error::{ConfigError, Problem};
pub use keys::{KEYS, Key, Kind};
pub use load::{Loaded, Sources};
pub use model::{
    Admin, Auth, Config, Database, Http, Intervals, Limits, Log, LogFormat, Pipeline, Platform,
    Removal, Replica, ResultClass, Retention, Rollout, Secrets, Staleness, Timeouts,
};
pub use units::{Days, Hours, Minutes, Seconds};

/// The commented manual of every key, with the defaults.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");
