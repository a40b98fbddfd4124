//! What a failure of Redis means to the engine.
//!
//! Two questions decide: did the server get the question, and did it answer.
//! A question that may have arrived and was not answered may have been carried
//! out. The server's texts name commands, keys and users, never a password.

use redis::{ErrorKind, RedisError};
use vz_sync_actors::ports::PortError;

pub(super) const SERVICE: &str = "redis";

/// Codes of refusals that pass: a server that starts, is busy, full, or no
/// longer the one to write to.
const PASSING: [&str; 9] = [
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "READONLY",
    "NOREPLICAS",
    "OOM",
    "MISCONF",
];

/// A call that failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// No connection could be had: the question was never sent.
    NoConnection(String),
    /// The server refused the connection itself, e.g. over its password.
    NotWelcome(String),
    /// The question may have arrived, and no answer came.
    NoAnswer(String),
    /// The server answered with an error.
    Answered(RedisError),
}

impl Fault {
    /// Judges a failed attempt to connect.
    pub(super) fn of_connect(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
                Self::NotWelcome(error.to_string())
            }
            _ if is_answer(error) && !is_passing(error) => Self::NotWelcome(error.to_string()),
            _ => Self::NoConnection(error.to_string()),
        }
    }

    /// Judges a failed question.
    pub(super) fn of_question(error: RedisError) -> Self {
        if is_answer(&error) { Self::Answered(error) } else { Self::NoAnswer(error.to_string()) }
    }

    /// Whether the server is out of reach, for all that this call knows.
    pub(super) const fn is_silence(&self) -> bool {
        !matches!(self, Self::Answered(_))
    }

    /// Whether another connection may reach a server that takes the question.
    pub(super) fn spoils_connection(&self) -> bool {
        match self {
            // A primary that became a replica; its address may lead elsewhere by now.
            Self::Answered(error) => code(error).as_deref() == Some("READONLY"),
            _ => true,
        }
    }

    /// In the engine's words. `writes`: whether the question would have
    /// changed something.
    pub(super) fn told(self, writes: bool) -> PortError {
        let service = SERVICE;
        match self {
            Self::NoAnswer(message) if writes => PortError::OutcomeUnknown { service, message },
            Self::NoConnection(message) | Self::NoAnswer(message) => {
                PortError::Unavailable { service, message }
            }
            Self::Answered(error) if is_passing(&error) => {
                PortError::Unavailable { service, message: error.to_string() }
            }
            Self::Answered(error) => PortError::Refused { service, message: error.to_string() },
            Self::NotWelcome(message) => PortError::Refused { service, message },
        }
    }
}

/// An answer of the server that this binary cannot read.
pub(super) fn unreadable(what: impl std::fmt::Display) -> PortError {
    PortError::Refused { service: SERVICE, message: what.to_string() }
}

/// Whether the server does not have a script that it was to run by its hash.
pub(super) fn is_no_script(error: &RedisError) -> bool {
    code(error).as_deref() == Some("NOSCRIPT")
}

fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn is_passing(error: &RedisError) -> bool {
    code(error).is_some_and(|code| PASSING.contains(&code.as_str()))
}

/// The server's code; of several commands at once that of the first failure.
fn code(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> Fault {
        let bytes = format!("-{line}\r\n");
        let value = redis::parse_redis_value(bytes.as_bytes()).unwrap();
        let error = redis::from_redis_value::<String>(value).unwrap_err();
        Fault::of_question(RedisError::from(error))
    }

    #[test]
    fn what_passes_may_be_tried_again() {
        for line in ["LOADING dataset", "OOM used memory", "READONLY replica", "BUSY script"] {
            let told = answered(line).told(true);
            assert!(matches!(told, PortError::Unavailable { .. }), "{line}: {told:?}");
        }
        for line in ["WRONGTYPE a list", "NOPERM no", "ERR syntax"] {
            let told = answered(line).told(true);
            assert!(matches!(told, PortError::Refused { .. }), "{line}: {told:?}");
        }
    }

    #[test]
    fn silence_after_a_change_leaves_the_outcome_open() {
        let silence = || {
            let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            Fault::of_question(RedisError::from(broken))
        };
        assert!(silence().is_silence() && silence().spoils_connection());
        assert!(matches!(silence().told(true), PortError::OutcomeUnknown { .. }));
        assert!(matches!(silence().told(false), PortError::Unavailable { .. }));
        assert!(!answered("ERR syntax").spoils_connection());
        assert!(answered("READONLY replica").spoils_connection());
    }

    #[test]
    fn a_wrong_password_is_a_refusal_and_a_closed_door_is_not() {
        let wrong = RedisError::from((ErrorKind::AuthenticationFailed, "WRONGPASS"));
        assert!(matches!(Fault::of_connect(&wrong).told(false), PortError::Refused { .. }));
        let closed = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(matches!(Fault::of_connect(&closed).told(true), PortError::Unavailable { .. }));
    }
}
