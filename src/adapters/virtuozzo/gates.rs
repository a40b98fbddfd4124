//! What stands between this replica's requests and each platform, as of the last look.
//!
//! The caller refreshes it each second from [`vz_sync_actors::ports::platforms`]; what this
//! replica learns itself (a 429, an opened circuit) holds at once. Lost with the process, read
//! anew at the next look.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vz_sync_actors::domain::PlatformId;
use vz_sync_actors::ports::platforms::{Circuit, PlatformGate};

/// Least time between two attempts of this replica to take a probe.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// Whether a platform may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// Ask.
    Open,
    /// The circuit is open: only a probe passes.
    CircuitOpen,
    /// The platform asked for patience.
    Throttled {
        /// Time left.
        retry_in: Duration,
    },
}

#[derive(Debug, Default)]
struct Gate {
    circuit_open: bool,
    failures: u32,
    throttled_until: Option<Instant>,
    probe_tried: Option<Instant>,
}

/// The gates of all platforms. A platform that was never heard of is open.
#[derive(Debug, Default)]
pub struct Gates(Mutex<HashMap<PlatformId, Gate>>);

impl Gates {
    /// Takes over what the shared table says.
    pub fn refresh(&self, gates: &[PlatformGate]) {
        let now = Instant::now();
        let mut known = self.lock();
        known.retain(|platform, _| gates.iter().any(|gate| gate.platform == *platform));
        for gate in gates {
            let entry = known.entry(gate.platform).or_default();
            entry.circuit_open = gate.circuit != Circuit::Closed;
            entry.failures = gate.consecutive_failures;
            // A 429 of our own may be younger than this look.
            let shared = (!gate.throttled_for.is_zero()).then(|| now + gate.throttled_for);
            entry.throttled_until = entry.throttled_until.max(shared);
        }
    }

    /// Whether `platform` may be asked now.
    pub fn state(&self, platform: PlatformId) -> GateState {
        let now = Instant::now();
        let known = self.lock();
        let Some(gate) = known.get(&platform) else { return GateState::Open };
        match gate.throttled_until {
            Some(until) if until > now => GateState::Throttled { retry_in: until - now },
            _ if gate.circuit_open => GateState::CircuitOpen,
            _ => GateState::Open,
        }
    }

    /// Whether it is worth asking for the probe slot; answers yes at most once a second.
    pub(super) fn may_probe(&self, platform: PlatformId) -> bool {
        let now = Instant::now();
        let mut known = self.lock();
        let gate = known.entry(platform).or_default();
        let due = gate.probe_tried.is_none_or(|tried| now - tried >= PROBE_PAUSE);
        if due {
            gate.probe_tried = Some(now);
        }
        due
    }

    pub(super) fn throttle(&self, platform: PlatformId, wait: Duration) {
        let until = Some(Instant::now() + wait);
        let mut known = self.lock();
        let gate = known.entry(platform).or_default();
        gate.throttled_until = gate.throttled_until.max(until);
    }

    pub(super) fn failed(&self, platform: PlatformId, circuit_open: bool) {
        let mut known = self.lock();
        let gate = known.entry(platform).or_default();
        gate.failures += 1;
        gate.circuit_open |= circuit_open;
    }

    /// Notes an answer; says whether there was anything to forget, which others must hear of.
    pub(super) fn answered(&self, platform: PlatformId) -> bool {
        let mut known = self.lock();
        let Some(gate) = known.get_mut(&platform) else { return false };
        let news = gate.circuit_open || gate.failures > 0;
        gate.circuit_open = false;
        gate.failures = 0;
        news
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PlatformId, Gate>> {
        // Each change is a plain assignment, so a panicked holder left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PlatformId = PlatformId(1);

    fn gate(circuit: Circuit, throttled_for: u64) -> PlatformGate {
        PlatformGate {
            platform: P,
            base_url: String::new(),
            circuit,
            consecutive_failures: 0,
            open_until: None,
            last_error: None,
            throttled_for: Duration::from_secs(throttled_for),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_429_outlives_an_older_look() {
        let gates = Gates::default();
        assert_eq!(gates.state(P), GateState::Open);
        gates.throttle(P, Duration::from_secs(20));
        gates.refresh(&[gate(Circuit::Closed, 0)]);
        assert_eq!(gates.state(P), GateState::Throttled { retry_in: Duration::from_secs(20) });
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(gates.state(P), GateState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_closes_the_circuit_and_is_news_once() {
        let gates = Gates::default();
        gates.refresh(&[gate(Circuit::Open, 0)]);
        assert_eq!(gates.state(P), GateState::CircuitOpen);
        assert!(gates.may_probe(P));
        assert!(!gates.may_probe(P));
        tokio::time::advance(PROBE_PAUSE).await;
        assert!(gates.may_probe(P));
        assert!(gates.answered(P));
        assert!(!gates.answered(P));
        assert_eq!(gates.state(P), GateState::Open);
    }
}
