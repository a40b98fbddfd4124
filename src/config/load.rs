//! Merging the layers, judging the result, and remembering where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use figment::Figment;
use figment::value::{Dict, Value};
use serde_json::{Value as Json, json};

use super::keys::{self, KEYS, Kind};
use super::{Config, ConfigError, DEFAULT_TOML, Problem, check, layers};

/// Where settings may come from, besides the embedded defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file of `--config` or `VZ_SYNC_CONFIG`.
    pub file: Option<PathBuf>,
    /// The environment, handed in so that tests need not change the process's own.
    pub environment: BTreeMap<String, String>,
    /// Flags as (path of the key, value, name of the flag).
    pub flags: Vec<(&'static str, String, &'static str)>,
}

// The environment holds secrets in the clear: only its names may show.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}

/// A value as it may be shown, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `section.key`.
    pub path: &'static str,
    /// The value; a secret shows only that it is set.
    pub value: Json,
    /// `default`, a file, an environment variable or a flag.
    pub origin: String,
}

/// A configuration that has passed every check.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The same for people: redacted and with origins, in the manual's order.
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// Merges and checks; reports everything that is wrong at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut figment = Figment::from(layers::file("default", DEFAULT_TOML)?);
        if let Some(path) = &sources.file {
            let origin = format!("file {}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| {
                ConfigError::one("--config", &origin, format!("cannot be read: {error}"))
            })?;
            figment = figment.merge(layers::file(&origin, &text)?);
        }
        for layer in layers::environment(&sources.environment, &mut problems) {
            figment = figment.merge(layer);
        }
        for (path, value, flag) in &sources.flags {
            figment = figment.merge(layers::flag(path, value, flag)?);
        }

        let merged: Dict =
            figment.extract().map_err(|error| ConfigError::one("", "", error.to_string()))?;
        let origin = |path: &str| {
            figment.find_metadata(path).map_or_else(String::new, |found| found.name.to_string())
        };
        check::values(&merged, &origin, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }

        let config: Config = figment.extract().map_err(|error| unreadable(error, &origin))?;
        check::together(&config, &origin, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        Ok(Self { config, settings: settings(&merged, &origin) })
    }

    /// Where the value of a key came from.
    pub fn origin(&self, path: &str) -> &str {
        let setting = self.settings.iter().find(|setting| setting.path == path);
        setting.map_or("", |setting| setting.origin.as_str())
    }

    /// The embedded defaults and nothing else.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::load(&Sources::default())
    }
}

/// The checks leave little for serde to refuse; what it does is told without values.
fn unreadable(error: figment::Error, origin: &dyn Fn(&str) -> String) -> ConfigError {
    let problems = error
        .into_iter()
        .map(|error| {
            let key = error.path.join(".");
            let secret = keys::by_path(&key).is_some_and(keys::Key::is_secret);
            let message = if secret { "has the wrong type".into() } else { error.kind.to_string() };
            Problem { origin: origin(&key), key, message }
        })
        .collect();
    ConfigError { problems }
}

fn settings(merged: &Dict, origin: &dyn Fn(&str) -> String) -> Vec<Setting> {
    KEYS.iter()
        .filter(|key| !matches!(key.kind, Kind::Unsupported(_)))
        .map(|key| {
            let (section, name) = key.path.split_once('.').unwrap_or(("", key.path));
            let found = merged.get(section).and_then(Value::as_dict).and_then(|d| d.get(name));
            match found {
                Some(_) if key.is_secret() => {
                    Setting { path: key.path, value: json!("<redacted>"), origin: origin(key.path) }
                }
                Some(value) => Setting {
                    path: key.path,
                    value: serde_json::to_value(value).unwrap_or(Json::Null),
                    origin: origin(key.path),
                },
                None => Setting { path: key.path, value: Json::Null, origin: "unset".into() },
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
