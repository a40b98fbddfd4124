//! Time. Durations are measured on tokio's clock, which tests pause; wall
//! time is only shown, logged and stamped on passing events. What is stored
//! carries the database's time, never ours.

use time::OffsetDateTime;
use tokio::time::Instant;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// For measuring.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// For showing.
    fn wall(&self) -> OffsetDateTime;
}
