//! `config print`: what holds, redacted, with origins.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::{KEYS, Loaded};

impl Loaded {
    /// TOML that could be read back, each line with its origin; secrets and unset
    /// keys are comments.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in &self.settings {
            let (head, name) = setting.path.split_once('.').unwrap_or(("", setting.path));
            if head != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                let _ = writeln!(out, "{gap}[{head}]");
                section = head;
            }
            let secret = KEYS.iter().any(|k| k.path == setting.path && k.is_secret());
            let line = match &setting.value {
                Json::Null => format!("# {name} ="),
                _ if secret => format!("# {name} = <redacted>"),
                value => format!("{name} = {}", toml_value(value)),
            };
            let _ = writeln!(out, "{line:<44} # {}", setting.origin);
        }
        out
    }

    /// The same as JSON: `{"section": {"key": {"value": ..., "origin": ...}}}`.
    pub fn to_json(&self) -> Json {
        let mut sections = Map::new();
        for setting in &self.settings {
            let (head, name) = setting.path.split_once('.').unwrap_or(("", setting.path));
            let section = sections.entry(head).or_insert_with(|| json!({}));
            section[name] = json!({ "value": setting.value, "origin": setting.origin });
        }
        Json::Object(sections)
    }
}

/// JSON's scalars and arrays are TOML's; only a table is spelled otherwise.
fn toml_value(value: &Json) -> String {
    match value {
        Json::Object(table) => {
            let inner: Vec<_> =
                table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", inner.join(", "))
        }
        other => other.to_string(),
    }
}
