//! Exit codes, in one place: the codes, the errors behind them, and the help's table.

use std::process::ExitCode;

use crate::boot::BootError;
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
    /// The arguments are fine for the parser, but not together or not here.
    #[error("{0}")]
    Usage(String),
    /// A service that is needed did not answer.
    #[error("{0:#}")]
    Dependency(anyhow::Error),
    /// Anything else.
    #[error("{0:#}")]
    Failure(#[from] anyhow::Error),
}

impl From<BootError> for CliError {
    fn from(error: BootError) -> Self {
        if error.is_dependency() {
            Self::Dependency(anyhow::Error::new(error))
        } else {
            Self::Failure(anyhow::Error::new(error))
        }
    }
}

impl CliError {
    /// The code it ends the process with.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Usage(_) => Exit::Usage,
            Self::Dependency(_) => Exit::Dependency,
            Self::Failure(_) => Exit::Failure,
        }
    }

    /// The word for `--json`.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Usage(_) => "usage",
            Self::Dependency(_) => "dependency",
            Self::Failure(_) => "failure",
        }
    }
}
