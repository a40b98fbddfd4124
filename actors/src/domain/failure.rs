//! Failure classes: what went wrong decides who waits and for how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scope::{UnknownWord, words};

/// What a failure means for the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// May pass by itself: backoff and try again.
    Retryable,
    /// The platform asked for patience: not counted as a failure of the team.
    Throttled,
    /// The key is refused: the team rests until it is replaced.
    Auth,
    /// One method is refused to the token: the run falls back without it.
    Capability,
    /// The answer as a whole makes no sense: slow cadence.
    Invalid,
    /// A fault of ours.
    Internal,
}

words!(FailureClass, "retryable, throttled, auth, capability, invalid, internal",
    Retryable => "retryable",
    Throttled => "throttled",
    Auth => "auth",
    Capability => "capability",
    Invalid => "invalid",
    Internal => "internal",
);

/// One failure, ready to be stored and shown. The message never holds a
/// secret or a payload: adapters write it from fixed texts, numbers and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it means.
    pub class: FailureClass,
    /// A stable code, e.g. `connect_timeout` or `result_17`.
    pub code: String,
    /// What happened, to which key, in words.
    pub message: String,
    /// How long the platform asked us to wait.
    pub retry_after: Option<Duration>,
    /// Whether no answer came at all, which counts towards the circuit.
    pub connection_level: bool,
}

impl Failure {
    /// A failure without a wish for patience.
    pub fn new(class: FailureClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            retry_after: None,
            connection_level: false,
        }
    }

    /// A fault of ours.
    pub fn internal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Internal, code, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.class, self.code, self.message)
    }
}

impl std::error::Error for Failure {}
