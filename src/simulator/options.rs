//! What a simulator is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::SimulatorError;
use super::schedule::Schedule;

/// How a simulator is started. No `Debug`: it carries logins, passwords and tokens.
#[derive(Clone)]
pub struct SimulatorOptions {
    /// Where to listen. Loopback unless the caller says otherwise.
    pub listen: SocketAddr,
    /// Equal seeds and equal calls give equal worlds.
    pub seed: u64,
    /// The accounts of the platform.
    pub accounts: Vec<AccountSpec>,
    /// How slow the platform is.
    pub latency: Latency,
    /// How often the world changes by itself; never, when absent.
    pub evolve: Option<Rate>,
    /// When it is ill by itself; never, when absent.
    pub schedule: Option<Schedule>,
    /// Whether `/control/` answers.
    pub control: bool,
    /// Whether elements have the width seen on real platforms (41 fields an environment, 53 a
    /// node, about 1.3 kB each) instead of the recorded sample's.
    pub wide: bool,
    /// The platform's clock at the start, in Unix seconds. With it the clock stands still but for
    /// one second a step, which makes a run repeatable to the byte; without it the clock is real.
    pub start_time: Option<i64>,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            accounts: Vec::new(),
            latency: Latency::default(),
            evolve: None,
            schedule: None,
            control: false,
            wide: false,
            start_time: None,
        }
    }
}

impl SimulatorOptions {
    /// `accounts` alike accounts with the tokens `t000001`, `t000002` and so on.
    pub fn uniform(accounts: usize, environments: usize, nodes_per_env: usize) -> Self {
        let accounts = (1..=accounts)
            .map(|number| AccountSpec::numbered(number, environments, nodes_per_env))
            .collect();
        Self { accounts, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<(), SimulatorError> {
        let mut uids = std::collections::HashSet::new();
        let mut tokens = std::collections::HashSet::new();
        for account in &self.accounts {
            if !uids.insert(account.uid) {
                let message = format!("uid {} is given to two accounts", account.uid);
                return Err(SimulatorError::Options(message));
            }
            if !tokens.insert(&account.token) {
                let message = format!(
                    "the token of account {} is another account's too; does the token template \
                     have a place for the number, such as t{{:06}}?",
                    account.uid
                );
                return Err(SimulatorError::Options(message));
            }
        }
        self.schedule.as_ref().map_or(Ok(()), Schedule::check)
    }
}

/// One account of the platform. No `Debug`: it carries a token and a password.
#[derive(Clone)]
pub struct AccountSpec {
    /// The account's number on the platform.
    pub uid: i64,
    /// Its personal access token, passed as `session` by clients.
    pub token: String,
    /// For `signin`.
    pub login: String,
    /// For `signin`.
    pub password: String,
    /// How many environments it starts with.
    pub environments: usize,
    /// How many nodes each of them starts with.
    pub nodes_per_env: usize,
    /// The only methods that the token may call, as `environment.control.GetEnvs`; all when absent.
    pub token_methods: Option<Vec<String>>,
    /// Who else sees how much of this account.
    pub shares: Vec<Share>,
}

impl AccountSpec {
    /// The account number `number`, counted from 1, with values derived from that number.
    pub fn numbered(number: usize, environments: usize, nodes_per_env: usize) -> Self {
        Self {
            uid: 10_000 + number as i64,
            token: numbered_token(DEFAULT_TOKEN_TEMPLATE, number),
            login: format!("owner{number}@simulator.example"),
            password: format!("password-{number}"),
            environments,
            nodes_per_env,
            token_methods: None,
            shares: Vec::new(),
        }
    }
}

/// The token template of [`AccountSpec::numbered`].
pub(crate) const DEFAULT_TOKEN_TEMPLATE: &str = "t{:06}";

/// Replaces `{}` or `{:0N}` in `template` by the number.
pub(crate) fn numbered_token(template: &str, number: usize) -> String {
    let Some((before, rest)) = template.split_once('{') else { return template.to_owned() };
    let Some((inner, after)) = rest.split_once('}') else { return template.to_owned() };
    let width = inner.trim_start_matches(':').parse::<usize>().unwrap_or(0);
    format!("{before}{number:0width$}{after}")
}

/// A collaboration: another account sees a part of the environments.
#[derive(Debug, Clone)]
pub struct Share {
    /// The collaborator's account.
    pub member_uid: i64,
    /// The share of the environments that the collaborator sees, 0 to 100.
    pub percent: u8,
}

/// How slow the platform answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// Every call.
    pub base: Duration,
    /// A seeded extra between nothing and this.
    pub jitter: Duration,
    /// Each environment of a full or basic listing; a lazy listing costs a tenth of it.
    pub per_environment: Duration,
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
}

impl Rate {
    /// `per_second` times a second. Anything not above zero is refused.
    pub fn per_second(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then_some(Self { per_second })
    }

    /// The time between two happenings, at least a millisecond.
    pub fn period(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.per_second)
            .unwrap_or(Duration::MAX)
            .clamp(Duration::from_millis(1), Duration::from_hours(24))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a rate; write 5/s, 30/m or 10/h");
        let (number, unit) = text.split_once('/').ok_or_else(bad)?;
        let number = number.trim().parse::<f64>().map_err(|_| bad())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        Self::per_second(number / seconds).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_templates_take_the_number_where_the_braces_are() {
        assert_eq!(numbered_token("t{:06}", 42), "t000042");
        assert_eq!(numbered_token("team{}x", 7), "team7x");
        assert_eq!(numbered_token("fixed", 7), "fixed");
    }

    #[test]
    fn rates_are_read_by_unit() {
        assert_eq!("30/m".parse::<Rate>().unwrap().period(), Duration::from_secs(2));
        assert!("0/s".parse::<Rate>().is_err());
        assert!("5".parse::<Rate>().is_err());
    }

    #[test]
    fn equal_tokens_are_refused() {
        let mut options = SimulatorOptions::uniform(2, 1, 1);
        assert!(options.check().is_ok());
        options.accounts[1].token = options.accounts[0].token.clone();
        assert!(matches!(options.check(), Err(SimulatorError::Options(_))));
    }
}
