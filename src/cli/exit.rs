//! Exit codes, in one place: the codes, the errors behind them, and the help's table.

use std::process::ExitCode;

use vz_sync_actors::ports::PortError;

use crate::boot::{Blame, BootError};
use crate::config::ConfigError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed for a reason that has no code of its own.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration is refused.
    Config = 3,
    /// Postgres, the platform or another service did not answer.
    Dependency = 4,
    /// It was interrupted before it was done.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table at the end of `--help`.
pub(super) const HELP: &str = "Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    the configuration is refused (vz-sync config check tells why)
  4    a service that is needed did not answer
  130  interrupted";

/// Why a command failed; each kind has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration is sound, but not enough for this command.
    #[error("{0:#}")]
    Settings(anyhow::Error),
    /// The arguments are fine for the parser, but not together or not here.
    #[error("{0}")]
    Usage(String),
    /// A service that is needed did not answer.
    #[error("{0:#}")]
    Dependency(anyhow::Error),
    /// Anything else.
    #[error("{0:#}")]
    Failure(anyhow::Error),
}

impl From<BootError> for CliError {
    fn from(error: BootError) -> Self {
        anyhow::Error::new(error).into()
    }
}

/// What lies at the bottom of the chain decides the code, whatever was said on
/// the way up.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        let transient = error.downcast_ref::<PortError>().is_some_and(PortError::is_transient);
        match error.downcast_ref::<BootError>().map(BootError::blame) {
            Some(Blame::Dependency) => Self::Dependency(error),
            Some(Blame::Settings) => Self::Settings(error),
            _ if transient => Self::Dependency(error),
            _ => Self::Failure(error),
        }
    }
}

impl CliError {
    /// The code it ends the process with.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Settings(_) => Exit::Config,
            Self::Usage(_) => Exit::Usage,
            Self::Dependency(_) => Exit::Dependency,
            Self::Failure(_) => Exit::Failure,
        }
    }

    /// The word for `--json`.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Config(_) | Self::Settings(_) => "config",
            Self::Usage(_) => "usage",
            Self::Dependency(_) => "dependency",
            Self::Failure(_) => "failure",
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn port(transient: bool) -> PortError {
        let (service, message) = ("postgres", "it said so".to_owned());
        if transient {
            PortError::Unavailable { service, message }
        } else {
            PortError::Refused { service, message }
        }
    }

    #[test]
    fn the_cause_decides_the_code_through_every_layer() {
        let told = |error: PortError| CliError::from(anyhow::Error::new(error).context("not done"));
        let booted = |error: PortError| CliError::from(BootError::from(error));
        let wrapped = || Err::<(), _>(BootError::NoMasterKeys).context("the adapters").unwrap_err();
        let cases = [
            (told(port(true)), Exit::Dependency),
            (told(port(false)), Exit::Failure),
            (booted(port(true)), Exit::Dependency),
            (booted(port(false)), Exit::Failure),
            (BootError::NoMasterKeys.into(), Exit::Config),
            (wrapped().into(), Exit::Config),
        ];
        for (error, exit) in cases {
            assert_eq!(error.exit(), exit, "{error}");
        }
        let refused = booted(port(false)).to_string();
        assert!(refused.contains("it said so") && !refused.contains("reached"), "{refused}");
    }
}
