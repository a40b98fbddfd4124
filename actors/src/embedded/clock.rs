//! Wall time that runs with tokio's clock, so that a paused test moves both.

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::ports::clock::Clock;

/// A wall clock that was right once and goes on by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedClock {
    wall_at_start: OffsetDateTime,
    start: Instant,
}

impl EmbeddedClock {
    /// Starts at `wall`, now.
    pub fn starting_at(wall: OffsetDateTime) -> Self {
        Self { wall_at_start: wall, start: Instant::now() }
    }
}

impl Clock for EmbeddedClock {
    fn wall(&self) -> OffsetDateTime {
        self.wall_at_start + self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn wall_time_follows_the_paused_clock() {
        let clock = EmbeddedClock::starting_at(OffsetDateTime::UNIX_EPOCH);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.wall(), OffsetDateTime::UNIX_EPOCH + Duration::from_secs(90));
    }
}
