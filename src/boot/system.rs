//! The real clock and the real chance.

use rand::RngExt as _;
use time::OffsetDateTime;
use uuid::Uuid;
use vz_sync_actors::ports::clock::Clock;
use vz_sync_actors::ports::entropy::Entropy;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one clock that may ask the machine")]
    fn wall(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// The operating system's chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fraction(&self) -> f64 {
        rand::rng().random::<f64>()
    }

    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}
