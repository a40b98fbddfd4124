//! What a failure of the broker means to the engine.
//!
//! Two questions decide: may the same call succeed later, and may it have
//! happened. Texts come from the broker or from lapin; neither quotes the URL.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use tokio::time::timeout;
use vz_sync_actors::ports::{PortError, PortResult};

use super::SERVICE;

pub(super) fn refused(message: impl Into<String>) -> PortError {
    PortError::Refused { service: SERVICE, message: message.into() }
}

pub(super) fn unavailable(message: impl Into<String>) -> PortError {
    PortError::Unavailable { service: SERVICE, message: message.into() }
}

pub(super) fn unknown(message: impl Into<String>) -> PortError {
    PortError::OutcomeUnknown { service: SERVICE, message: message.into() }
}

/// What an error says, without the words around it.
pub(super) fn words(error: &PortError) -> &str {
    match error {
        PortError::Unavailable { message, .. }
        | PortError::OutcomeUnknown { message, .. }
        | PortError::Refused { message, .. }
        | PortError::NotFound(message) => message,
    }
}

/// The broker's reason, if it gave one.
pub(super) fn reason(error: &lapin::Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind()),
        _ => None,
    }
}

/// Whether a queue or an exchange that was named does not exist.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    matches!(reason(error), Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

/// Whether something exists that differs from what was declared.
pub(super) fn is_different(error: &lapin::Error) -> bool {
    matches!(reason(error), Some(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)))
}

/// A failure of a call that changes nothing, or that certainly did not happen.
pub(super) fn judged(doing: &str, error: &lapin::Error) -> PortError {
    let message = format!("{doing}: {error}");
    // What is missing is declared again, and an exclusive queue is free again
    // once its owner's connection is gone.
    let is_final = matches!(
        reason(error),
        Some(
            AMQPErrorKind::Soft(
                AMQPSoftError::ACCESSREFUSED
                    | AMQPSoftError::PRECONDITIONFAILED
                    | AMQPSoftError::CONTENTTOOLARGE
            ) | AMQPErrorKind::Hard(
                AMQPHardError::NOTALLOWED
                    | AMQPHardError::NOTIMPLEMENTED
                    | AMQPHardError::INVALIDPATH
                    | AMQPHardError::COMMANDINVALID
                    | AMQPHardError::SYNTAXERROR
            )
        )
    );
    if is_final { refused(message) } else { unavailable(message) }
}

/// Waits for an answer of the broker, at most so long.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &str,
    call: impl Future<Output = lapin::Result<T>>,
) -> PortResult<T> {
    match timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(judged(doing, &error)),
        Err(_) => Err(unavailable(format!("{doing}: no answer within {limit:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn protocol(kind: impl Into<AMQPErrorKind>) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), "NO".into())).into()
    }

    #[test]
    fn what_repeating_cannot_change_is_refused() {
        for error in [
            protocol(AMQPSoftError::ACCESSREFUSED),
            protocol(AMQPSoftError::PRECONDITIONFAILED),
            protocol(AMQPHardError::NOTALLOWED),
        ] {
            assert!(!judged("test", &error).is_transient(), "{error}");
        }
    }

    #[test]
    fn what_passes_is_unavailable() {
        for error in [
            protocol(AMQPSoftError::NOTFOUND),
            protocol(AMQPSoftError::RESOURCELOCKED),
            protocol(AMQPHardError::CONNECTIONFORCED),
            ErrorKind::MissingHeartbeatError.into(),
            std::io::Error::other("reset").into(),
        ] {
            assert!(judged("test", &error).is_transient(), "{error}");
        }
    }
}
