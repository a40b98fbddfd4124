//! Waiting for our own rate limit in the middle of a run.
//!
//! A run that has not asked for anything yet steps aside when the limit is
//! far: its job is postponed and its permit goes to another. One that has
//! already read a part of what it needs waits instead, or it would begin anew
//! each time and never end. The run's own deadline bounds the wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::run::Run;
use crate::domain::FailureClass;
use crate::ports::platform::PlatformResult;

/// The code of a refusal by our own limiter.
const RATE_LIMIT: &str = "rate_limit";
/// Least pause before asking the limiter again.
const PAUSE: Duration = Duration::from_millis(50);

impl Run {
    /// Asks until the answer is anything but "our own rate limit"; the first
    /// request of the run takes that for an answer, too.
    pub(super) async fn patiently<T, F>(&self, mut ask: impl FnMut() -> F) -> PlatformResult<T>
    where
        F: Future<Output = PlatformResult<T>>,
    {
        loop {
            let answer = ask().await;
            if !self.must_wait(&answer).await {
                return answer;
            }
        }
    }

    /// Waits if an answer is a refusal by our own limiter in the middle of the
    /// run, and says so: ask again then. For requests that cannot be a closure.
    pub(super) async fn must_wait<T>(&self, answer: &PlatformResult<T>) -> bool {
        match answer {
            Err(failure)
                if failure.class == FailureClass::Throttled && failure.code == RATE_LIMIT =>
            {
                if !self.begun.load(Ordering::Relaxed) {
                    return false;
                }
                tokio::time::sleep(failure.retry_after.unwrap_or(PAUSE).max(PAUSE)).await;
                true
            }
            _ => {
                self.begun.store(true, Ordering::Relaxed);
                false
            }
        }
    }
}
