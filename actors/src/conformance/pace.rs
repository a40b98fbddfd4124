//! Time in an exam.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;

/// Makes time pass for a subject without anybody waiting for it.
#[async_trait]
pub trait Pace: Send + Sync + 'static {
    /// Afterwards the subject must behave as if `by` had passed. An adapter of
    /// a real server moves every stored time back by that much; one on tokio's
    /// paused clock advances it.
    async fn pass(&self, by: Duration);
}

/// For subjects on tokio's paused clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct PausedPace;

#[async_trait]
impl Pace for PausedPace {
    async fn pass(&self, by: Duration) {
        tokio::time::advance(by).await;
    }
}

/// What must happen, and would hang the exam if it did not.
pub async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), what)
        .await
        .expect("this must happen within 10 s, and did not")
}

/// What must not happen: given a moment, it still has not.
pub async fn never<F: Future>(what: F)
where
    F::Output: std::fmt::Debug,
{
    if let Ok(happened) = tokio::time::timeout(Duration::from_millis(200), what).await {
        panic!("this must not happen, and did: {happened:?}");
    }
}
