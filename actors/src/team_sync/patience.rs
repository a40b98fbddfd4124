//! Waiting for our own rate limit in the middle of a run.
//!
//! A run that has not asked for anything yet steps aside when the limit is
//! far: its job is postponed and its permit goes to another. One that has
//! already read half of what it needs waits instead, or it would begin anew
//! each time and never end. The run's own deadline bounds the wait.

use std::time::Duration;

use super::run::Run;
use crate::domain::FailureClass;
use crate::ports::platform::PlatformResult;

/// The code of a refusal by our own limiter.
const RATE_LIMIT: &str = "rate_limit";
/// Least pause before asking the limiter again.
const PAUSE: Duration = Duration::from_millis(50);

impl Run {
    /// Asks until the answer is anything but "our own rate limit".
    pub(super) async fn patiently<T, F>(&self, mut ask: impl FnMut() -> F) -> PlatformResult<T>
    where
        F: Future<Output = PlatformResult<T>>,
    {
        loop {
            match ask().await {
                Err(failure)
                    if failure.class == FailureClass::Throttled && failure.code == RATE_LIMIT =>
                {
                    tokio::time::sleep(failure.retry_after.unwrap_or(PAUSE).max(PAUSE)).await;
                }
                answer => return answer,
            }
        }
    }
}
