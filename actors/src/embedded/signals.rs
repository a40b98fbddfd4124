//! Wake-ups inside one process.

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::ports::signals::{Heard, Signal, SignalListener, Signals};

/// Enough for a burst of applies; who falls further behind looks at everything.
const CAPACITY: usize = 1024;

/// Wakes the listeners of one process.
#[derive(Debug, Clone)]
pub struct EmbeddedSignals {
    sender: broadcast::Sender<Signal>,
}

impl EmbeddedSignals {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// Keeps up to `capacity` signals for a slow listener.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { sender: broadcast::Sender::new(capacity) }
    }
}

impl Default for EmbeddedSignals {
    fn default() -> Self {
        Self::new()
    }
}

impl Signals for EmbeddedSignals {
    fn send(&self, signal: Signal) {
        // An error only says that nobody listens.
        let _ = self.sender.send(signal);
    }

    fn listen(&self) -> Box<dyn SignalListener> {
        Box::new(Listener(self.sender.subscribe()))
    }
}

struct Listener(broadcast::Receiver<Signal>);

#[async_trait]
impl SignalListener for Listener {
    async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(signal) => Heard::Signal(signal),
            Err(RecvError::Lagged(_)) => Heard::Lagged,
            Err(RecvError::Closed) => Heard::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_learns_that_it_lagged() {
        let signals = EmbeddedSignals::with_capacity(2);
        let mut listener = signals.listen();
        for _ in 0..5 {
            signals.send(Signal::StatesDue);
        }
        assert_eq!(listener.next().await, Heard::Lagged);
        assert_eq!(listener.next().await, Heard::Signal(Signal::StatesDue));
    }

    #[tokio::test]
    async fn a_listener_outlives_the_sender_with_an_end() {
        let signals = EmbeddedSignals::new();
        let mut listener = signals.listen();
        drop(signals);
        assert_eq!(listener.next().await, Heard::Closed);
    }
}
