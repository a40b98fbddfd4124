//! Chance, injected so that a simulated day can be replayed from its seed.

use uuid::Uuid;

/// A source of chance.
pub trait Entropy: Send + Sync + 'static {
    /// Uniform in `[0, 1)`.
    fn fraction(&self) -> f64;

    /// A fresh version 4 UUID.
    fn uuid(&self) -> Uuid;
}
