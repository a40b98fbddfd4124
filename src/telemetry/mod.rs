//! Logs: one line per event on stderr, with fields from an allow-list only.
//!
//! The subscriber drops every field that [`SAFE_FIELDS`] does not name, caps and
//! cleans every text, and counts what it dropped. Discipline at the call site is
//! welcome and not relied on. `docs/LOGGING.md` is the page for people.
//! Deliberately absent: log files and rotation (stderr belongs to the supervisor),
//! and the `log` crate's records, since libraries log SQL and headers there.

mod clean;
mod fields;
mod layer;
mod line;
mod panic;

use std::io::{IsTerminal, stderr};
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

pub use clean::{clean, scrub};
pub use fields::{SAFE_FIELDS, is_safe};
pub use layer::{LogCounters, SafeLayer};
pub use line::Style;
pub use panic::install_panic_hook;

use crate::config::{Log, LogFormat};

/// The subscriber could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` is no filter; the configuration's own check says so earlier.
    #[error("log.filter is not a filter such as info,vz_sync=debug: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody installed a subscriber before.
    #[error("a log subscriber is already installed in this process")]
    Installed,
}

/// How lines look for this format on this stderr.
pub fn style(format: LogFormat, terminal: bool, colour: bool) -> Style {
    match (format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => Style::Json,
        (LogFormat::Human, _) | (LogFormat::Auto, true) => Style::Human { colour },
    }
}

/// Installs the subscriber and the panic hook for the process; call once.
pub fn init(log: &Log, colour: bool) -> Result<Arc<LogCounters>, TelemetryError> {
    let filter = filter(&log.filter)?;
    let style = style(log.format, stderr().is_terminal(), colour);
    let layer = SafeLayer::new(style, stderr);
    let counters = layer.counters();
    Registry::default()
        .with(filter)
        .with(layer)
        .try_init()
        .map_err(|_| TelemetryError::Installed)?;
    install_panic_hook();
    Ok(counters)
}

/// The operator's filter, without what must never be said: lapin writes the
/// bodies of returned messages, and at trace level the frame that carries the
/// password. The adapter tells what there is to tell of the broker.
fn filter(words: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    Ok(EnvFilter::try_new(words)?.add_directive("lapin=off".parse()?))
}

#[cfg(test)]
mod tests;
