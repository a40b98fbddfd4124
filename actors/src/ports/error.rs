//! One error for all ports but the platform, whose failures have classes.

/// What a port answers with.
pub type PortResult<T> = Result<T, PortError>;

/// Why a call through a port brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The other side cannot be reached or is overloaded; the same call may
    /// succeed later.
    #[error("{service} is unavailable: {message}")]
    Unavailable {
        /// `postgres`, `redis`, ...
        service: &'static str,
        /// What happened, in words without secrets.
        message: String,
    },
    /// The call was sent, and whether it took effect is not known.
    #[error("{service} did not confirm: {message}")]
    OutcomeUnknown {
        /// `postgres`, `rabbitmq`, ...
        service: &'static str,
        /// What happened.
        message: String,
    },
    /// The other side refused the call itself: repeating it is useless.
    #[error("{service} refused the call: {message}")]
    Refused {
        /// Who refused.
        service: &'static str,
        /// Why.
        message: String,
    },
    /// The thing that was named does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
}

impl PortError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::OutcomeUnknown { .. })
    }
}
