//! One event as one line: JSON for machines, words for eyes.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use tracing::Level;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One JSON object per line.
    Json,
    /// Time, level, event, message and fields.
    Human {
        /// Whether the level is coloured.
        colour: bool,
    },
}

/// What a line says; everything in it has passed the allow-list and the cleaning.
pub(super) struct Line<'a> {
    pub(super) time: String,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) event: Option<String>,
    pub(super) message: Option<String>,
    pub(super) span: String,
    pub(super) fields: Map<String, Json>,
    pub(super) dropped: Vec<&'static str>,
}

impl Line<'_> {
    pub(super) fn render(self, style: Style) -> String {
        match style {
            Style::Json => self.json(),
            Style::Human { colour } => self.human(colour),
        }
    }

    /// Time, level and name come first, so that raw lines can be skimmed.
    fn json(self) -> String {
        let mut line = String::with_capacity(256);
        let mut put = |name: &str, value: &Json| {
            line.push(if line.is_empty() { '{' } else { ',' });
            let _ = write!(line, "{}:{value}", Json::from(name));
        };
        put("ts", &self.time.into());
        put("level", &self.level.as_str().to_ascii_lowercase().into());
        put("target", &self.target.into());
        for (name, value) in [("event", self.event), ("message", self.message)] {
            if let Some(value) = value {
                put(name, &value.into());
            }
        }
        if !self.span.is_empty() {
            put("span", &self.span.into());
        }
        for (name, value) in &self.fields {
            put(name, value);
        }
        if !self.dropped.is_empty() {
            put("dropped_fields", &self.dropped.into());
        }
        line.push_str("}\n");
        line
    }

    fn human(self, colour: bool) -> String {
        let clock = self.time.get(11..23).unwrap_or(&self.time);
        let paint = match self.level {
            Level::ERROR => "\u{1b}[31m",
            Level::WARN => "\u{1b}[33m",
            Level::INFO => "\u{1b}[32m",
            _ => "\u{1b}[2m",
        };
        let mut line = if colour {
            format!("{clock} {paint}{:<5}\u{1b}[0m", self.level.as_str())
        } else {
            format!("{clock} {:<5}", self.level.as_str())
        };
        for text in [self.event, self.message].into_iter().flatten() {
            let _ = write!(line, " {text}");
        }
        for (name, value) in &self.fields {
            let _ = match value {
                Json::String(text) if !text.contains([' ', '"']) => write!(line, " {name}={text}"),
                other => write!(line, " {name}={other}"),
            };
        }
        if !self.dropped.is_empty() {
            let _ = write!(line, " (fields dropped: {})", self.dropped.join(", "));
        }
        line.push('\n');
        line
    }
}
