//! What is refused at start: unknown keys, wrong kinds, values out of range, and
//! values that contradict each other.

use std::net::SocketAddr;

use figment::value::{Dict, Value};
use tracing_subscriber::EnvFilter;

use super::keys::{self, Key, Kind, RESULT_CLASSES};
use super::layers::unknown;
use super::{CidrRange, Config, Problem};
use crate::secrets::KeyRing;

type Origin<'a> = &'a dyn Fn(&str) -> String;

/// Each value by itself.
pub(super) fn values(merged: &Dict, origin: Origin<'_>, problems: &mut Vec<Problem>) {
    for (section, value) in merged {
        let Value::Dict(_, entries) = value else {
            problems.push(Problem {
                key: section.clone(),
                origin: origin(section),
                message: unknown(section),
            });
            continue;
        };
        for (name, value) in entries {
            let path = format!("{section}.{name}");
            let refusal = match keys::by_path(&path) {
                Some(key) => refusal(key, value),
                None => Some(unknown(&path)),
            };
            if let Some(message) = refusal {
                problems.push(Problem { origin: origin(&path), key: path, message });
            }
        }
    }
}

fn refusal(key: &Key, value: &Value) -> Option<String> {
    let text = value.as_str();
    match key.kind {
        Kind::Bool => value.to_bool().is_none().then(|| "must be true or false".into()),
        Kind::Int(low, high) => {
            // TOML numbers come signed, those of the environment unsigned.
            let number = value.to_i128().or_else(|| value.to_u128()?.try_into().ok());
            let fits = number.is_some_and(|n| (i128::from(low)..=i128::from(high)).contains(&n));
            (!fits).then(|| format!("must be a whole number from {low} to {high}"))
        }
        Kind::Text => text
            .is_none_or(|text| text.trim().is_empty())
            .then(|| "must be a text that is not empty".into()),
        Kind::Choice(words) => text
            .is_none_or(|text| !words.contains(&text))
            .then(|| format!("must be one of {}", words.join(", "))),
        Kind::Listen => text
            .is_none_or(|text| text.parse::<SocketAddr>().is_err())
            .then(|| "must be an IP address and a port, such as 127.0.0.1:8080".into()),
        Kind::Secret(least) => text
            .is_none_or(|text| text.len() < least)
            .then(|| format!("must be a text of at least {least} bytes")),
        Kind::Unsupported(what_to_do) => Some(what_to_do.into()),
        Kind::TextList => each(value, |item| {
            item.is_none_or(str::is_empty).then(|| "must be a list of texts".into())
        }),
        Kind::Origins => each(value, |item| item.map_or(Some(ORIGIN.into()), origin_refusal)),
        Kind::Ranges => each(value, |item| {
            let item = item.unwrap_or_default();
            item.parse::<CidrRange>()
                .err()
                .map(|why| format!("{item:?} {why}; a range looks like 10.20.0.0/16"))
        }),
        Kind::IdList => {
            let good = value.as_array().is_some_and(|ids| {
                ids.iter()
                    .all(|id| id.to_i128().is_some_and(|n| (1..=i64::MAX.into()).contains(&n)))
            });
            (!good).then(|| "must be a list of team ids, whole numbers from 1".into())
        }
        Kind::ResultCodes => result_codes_refusal(value),
    }
}

fn each(value: &Value, judge: impl Fn(Option<&str>) -> Option<String>) -> Option<String> {
    match value.as_array() {
        None => Some("must be a list".into()),
        Some(items) => items.iter().find_map(|item| judge(item.as_str())),
    }
}

const ORIGIN: &str = "must list origins such as https://app.example.com, without path or wildcard";

fn origin_refusal(origin: &str) -> Option<String> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let good = host.is_some_and(|host| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
            && !host.bytes().any(|b| b.is_ascii_uppercase())
    });
    (!good).then(|| format!("{ORIGIN}; {origin:?} is none"))
}

fn result_codes_refusal(value: &Value) -> Option<String> {
    let Some(table) = value.as_dict() else {
        return Some("must be a table of result code = \"class\"".into());
    };
    table.iter().find_map(|(code, class)| {
        if code.parse::<i64>().is_err() || code == "0" {
            return Some(format!("{code:?} is no result code other than 0, which is success"));
        }
        let known = class.as_str().is_some_and(|class| RESULT_CLASSES.contains(&class));
        (!known).then(|| format!("class of {code} must be one of {}", RESULT_CLASSES.join(", ")))
    })
}

/// Values that are good alone and wrong together.
///
/// Only true contradictions: a limit that another one makes idle (a delta interval
/// above the full one, a first-byte time above the run's) is allowed, or changing
/// one key would force the change of its neighbours.
pub(super) fn together(config: &Config, origin: Origin<'_>, problems: &mut Vec<Problem>) {
    let mut refuse = |key: &str, message: String| {
        problems.push(Problem { key: key.into(), origin: origin(key), message });
    };
    let c = config;
    // The margin is what a run keeps between its last trusted moment and the lease's end.
    let least_lock = c.timeouts.run_seconds.0 + 15;
    if c.pipeline.job_lock_seconds.0 < least_lock {
        refuse(
            "pipeline.job_lock_seconds",
            format!("must be at least timeouts.run_seconds + 15 = {least_lock}"),
        );
    }
    let least_silence = 2 * c.replica.heartbeat_seconds.0;
    if c.replica.dead_after_seconds.0 < least_silence {
        refuse(
            "replica.dead_after_seconds",
            format!("must be at least twice replica.heartbeat_seconds = {least_silence}"),
        );
    }
    let (beat, silence) = (c.replica.heartbeat_seconds.0, c.replica.dead_after_seconds.0);
    // A replica uses its share of the request limits up to join_wait after its last heartbeat;
    // the others divide the limits without it from dead_after on.
    if c.replica.join_wait_seconds.0 <= beat || c.replica.join_wait_seconds.0 >= silence {
        refuse(
            "replica.join_wait_seconds",
            format!(
                "must be more than replica.heartbeat_seconds = {beat} and less than replica.dead_after_seconds = {silence}"
            ),
        );
    }
    if c.http.listen == c.admin.listen && c.http.listen.port() != 0 {
        refuse("admin.listen", "must differ from http.listen".into());
    }
    if let Err(error) = EnvFilter::try_new(&c.log.filter) {
        refuse("log.filter", format!("is not a filter such as info,vz_sync=debug: {error}"));
    }
    if let Some(keys) = &c.secrets.master_keys
        && let Err(error) = KeyRing::parse(keys)
    {
        refuse("secrets.master_keys", error.to_string());
    }
    if let Some(url) = &c.database.url
        && !is_postgres_url(url)
    {
        refuse("database.url", "must look like postgres://user:password@host:5432/database".into());
    }
}

fn is_postgres_url(url: &secrecy::SecretString) -> bool {
    use secrecy::ExposeSecret;
    url.expose_secret().parse::<tokio_postgres::Config>().is_ok()
}
