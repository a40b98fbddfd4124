//! The layers that figment merges: a file's text, one environment variable, one flag.
//!
//! Each environment variable is a layer of its own, so that the origin of every
//! value is its exact name.

use std::collections::BTreeMap;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Metadata, Profile, Provider};

use super::keys::{self, Key, Kind};
use super::{ConfigError, Problem};

/// Names that start with the prefix and are read elsewhere.
const RESERVED: &[&str] = &["vz_sync_config", "vz_sync_bin"];
const PREFIX: &str = "vz_sync_";

/// One source's values under their full paths.
pub(super) struct Layer {
    origin: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

/// A TOML text; short names at its top are moved to where they belong.
pub(super) fn file(origin: &str, text: &str) -> Result<Layer, ConfigError> {
    let parsed: Dict = Toml::from_str(text).map_err(|error| {
        // The parser's own Display quotes the line, which may hold a secret.
        let line = error.span().map_or(0, |span| line_of(text, span.start));
        ConfigError::one(
            &format!("line {line}"),
            origin,
            format!("is not valid TOML: {}", without_quotes(error.message())),
        )
    })?;
    let (mut dict, mut short) = (Dict::new(), Vec::new());
    for (name, value) in parsed {
        match keys::by_short(&name) {
            Some(key) => short.push((name, key, value)),
            None => drop(dict.insert(name, value)),
        }
    }
    for (name, key, value) in short {
        if !insert(&mut dict, key.path, value) {
            let message = format!("is also set as {}; keep one of the two", key.path);
            return Err(ConfigError::one(&name, origin, message));
        }
    }
    Ok(Layer { origin: origin.to_owned(), dict })
}

/// All variables of ours, each as a layer. An empty variable counts as unset.
pub(super) fn environment(
    variables: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in variables {
        let value = value.trim();
        let lower = name.to_ascii_lowercase();
        let origin = format!("environment variable {name}");
        let problem = |message: String| Problem {
            key: name.clone(),
            origin: "the environment".into(),
            message,
        };
        let key = keys::by_short(&lower)
            .or_else(|| keys::by_path(&lower.strip_prefix(PREFIX)?.replacen("__", ".", 1)));
        let Some(key) = key else {
            if lower.starts_with(PREFIX) && !RESERVED.contains(&lower.as_str()) {
                problems.push(problem(unknown(&lower)));
            }
            continue;
        };
        if value.is_empty() {
            continue;
        }
        if let Some(other) = seen.insert(key.path, name) {
            problems.push(problem(format!("sets the same key as {other}; keep one of the two")));
            continue;
        }
        match layer(key, value, origin.clone()) {
            Ok(layer) => layers.push(layer),
            Err(message) => {
                problems.push(Problem { key: key.path.into(), origin, message });
            }
        }
    }
    layers
}

/// One flag of the command line.
pub(super) fn flag(path: &str, value: &str, flag: &str) -> Result<Layer, ConfigError> {
    let origin = format!("flag {flag}");
    let key = keys::by_path(path)
        .ok_or_else(|| ConfigError::one(path, &origin, "is not a key of the configuration"))?;
    layer(key, value, origin.clone()).map_err(|message| ConfigError::one(path, &origin, message))
}

/// What to say about a name that nothing knows.
pub(super) fn unknown(name: &str) -> String {
    match keys::nearest(name) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None => "unknown key; config/default.toml lists them all".into(),
    }
}

fn layer(key: &Key, value: &str, origin: String) -> Result<Layer, String> {
    let value = parse(key.kind, value)?;
    let mut dict = Dict::new();
    insert(&mut dict, key.path, value);
    Ok(Layer { origin, dict })
}

/// Text to value by the key's kind, so that a secret of digits stays a text.
fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    match kind {
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Ok(Value::from(true)),
            "false" | "0" | "off" | "no" => Ok(Value::from(false)),
            _ => Err("must be true or false".into()),
        },
        Kind::Int(low, high) => text
            .replace('_', "")
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| format!("must be a whole number from {low} to {high}")),
        Kind::Text | Kind::Choice(_) | Kind::Listen | Kind::Secret(_) | Kind::Unsupported(_) => {
            Ok(Value::from(text))
        }
        Kind::TextList | Kind::Origins | Kind::Ranges => {
            Ok(Value::Array(Tag::Default, items().map(Value::from).collect()))
        }
        Kind::IdList => items()
            .map(|item| item.parse::<i64>().map(Value::from))
            .collect::<Result<_, _>>()
            .map(|ids| Value::Array(Tag::Default, ids))
            .map_err(|_| "must be a list of team ids separated by commas".into()),
        Kind::ResultCodes => Err("is a table; set it in a file".into()),
    }
}

/// Puts a value at `section.key`; false when something stands there already.
fn insert(dict: &mut Dict, path: &str, value: Value) -> bool {
    let (section, key) = path.split_once('.').unwrap_or(("", path));
    let entry =
        dict.entry(section.to_owned()).or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
    match entry {
        Value::Dict(_, inner) => inner.insert(key.to_owned(), value).is_none(),
        _ => false,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Drops what the parser quotes from the text: it may be a piece of a secret.
fn without_quotes(message: &str) -> String {
    let first_line = message.lines().next().unwrap_or_default();
    first_line
        .split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 0 { part } else { "..." })
        .collect()
}
