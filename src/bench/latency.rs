//! How long many single things took.

use std::time::Duration;

use serde::Serialize;

/// The shape of a set of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many.
    pub count: usize,
    /// The middle one, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 are no longer than this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latency {
    /// Sorts the times, given in microseconds.
    pub fn of_micros(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        // The nearest rank: a time that was seen, not one between two.
        let rank = |part: f64| {
            let place = (micros.len() as f64 * part).ceil() as usize;
            micros.get(place.saturating_sub(1)).map_or(0.0, |micros| f64::from(*micros) / 1e3)
        };
        Self { count: micros.len(), p50_ms: rank(0.5), p99_ms: rank(0.99), max_ms: rank(1.0) }
    }

    /// For the table.
    pub fn text(&self) -> String {
        format!(
            "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms ({} times)",
            self.p50_ms, self.p99_ms, self.max_ms, self.count
        )
    }
}

/// Microseconds, at most 71 minutes.
pub fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_times_that_were_seen() {
        let all = Latency::of_micros((1..=100).rev().map(|ms| ms * 1000).collect());
        assert_eq!((all.p50_ms, all.p99_ms, all.max_ms), (50.0, 99.0, 100.0));
        assert_eq!(Latency::of_micros(vec![7000]).p50_ms, 7.0);
        assert_eq!(Latency::of_micros(Vec::new()), Latency::default());
    }
}
