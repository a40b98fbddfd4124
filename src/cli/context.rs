//! What every command is given: where settings come from, and where to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CliError, ColorArg, GlobalArgs, LogFormatArg, Output};
use crate::config::{Config, Loaded, Sources};
use crate::telemetry::{self, LogCounters};

/// A flag that overrides a key of the configuration: path, value, name of the flag.
pub type Override = (&'static str, String, &'static str);

/// The surroundings of a command.
pub struct Context {
    sources: Sources,
    colour: bool,
    /// Where to write.
    pub output: Output,
}

impl Context {
    /// From the global flags and an environment that may be a test's.
    pub fn new(global: &GlobalArgs, environment: BTreeMap<String, String>, output: Output) -> Self {
        let file = global.config.clone().or_else(|| {
            environment.get("VZ_SYNC_CONFIG").filter(|path| !path.is_empty()).map(Into::into)
        });
        let colour = match global.color {
            ColorArg::Always => true,
            ColorArg::Never => false,
            ColorArg::Auto => environment.get("NO_COLOR").is_none_or(String::is_empty),
        };
        let flags = global
            .log_format
            .map(|format| ("log.format", LogFormatArg::word(format).to_owned(), "--log-format"))
            .into_iter()
            .collect();
        Self { sources: Sources { file, environment, flags }, colour, output }
    }

    /// The checked configuration, with the command's own flags on top.
    pub fn load(&self, overrides: Vec<Override>) -> Result<Loaded, CliError> {
        let mut sources = self.sources.clone();
        sources.flags.extend(overrides);
        Ok(Loaded::load(&sources)?)
    }

    /// Whether colours are wanted where there is a terminal.
    pub const fn colour(&self) -> bool {
        self.colour
    }

    /// Starts the logs; for commands that stay.
    pub fn start_logging(&self, config: &Config) -> Result<Arc<LogCounters>, CliError> {
        telemetry::init(&config.log, self.colour)
            .map_err(|error| CliError::Failure(anyhow::Error::new(error)))
    }
}
