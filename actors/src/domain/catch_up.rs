//! How far the claim runs ahead of the runs (SPEC section 3: after downtime
//! one catch-up per state, spread over the time that the backlog takes at the
//! measured rate).
//!
//! After downtime everything is due at once. Claimed at once it would all be
//! written, queued and claimed again before its turn comes. So no more is
//! claimed than will be leased soon at the rate that was measured: the store
//! keeps the rest, oldest first, and a state is claimed when its turn is near.
//! The rate corrects itself, which a timetable drawn up in advance would not.

use std::time::Duration;

use super::job::Lane;

/// Weight of one sample in the moving average: about the last thirty leases
/// count, so that a burst of them does not look like a new rate.
const WEIGHT: f64 = 1.0 / 32.0;

/// How long one replica takes for one job, all its permits together, when
/// enough waits. A moving average.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ServiceTime {
    seconds: Option<f64>,
}

impl ServiceTime {
    /// Notes a lease: the time since the lease before it, and how long its job
    /// had waited. When the job waited for less than that, nothing waited for
    /// a while, and only its own wait was the replica's doing.
    pub fn note(&mut self, gap: Duration, waited: Duration) {
        let sample = gap.min(waited).as_secs_f64();
        self.seconds = Some(self.seconds.map_or(sample, |mean| mean + (sample - mean) * WEIGHT));
    }

    /// Jobs per second that one replica can lease; `None` before anything was
    /// measured.
    pub fn rate(&self) -> Option<f64> {
        self.seconds.map(|seconds| 1.0 / seconds.max(1e-6))
    }
}

/// Between which bounds the window moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At least so many, or the permits would wait for the next claim.
    pub least: u32,
    /// At most so many: one claim.
    pub most: u32,
}

/// How many jobs of one lane may wait in the queue: what is leased within
/// `reach` at `rate` jobs per second. An unknown rate is no reason to wait.
pub fn window(rate: Option<f64>, reach: Duration, bounds: Bounds) -> u32 {
    let most = bounds.most.max(bounds.least);
    let Some(rate) = rate else { return most };
    // A cast from float saturates, and a negative or undefined rate gives 0.
    ((rate * reach.as_secs_f64()) as u32).clamp(bounds.least, most)
}

/// How many states the claim may take besides those that somebody asked for:
/// each lane has a window of its own, so that a backlog in one does not keep
/// the other from its share of the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// States that were loaded before: schedule and retry.
    pub normal: u32,
    /// States that never were: backfill.
    pub low: u32,
}

impl Room {
    /// No bound.
    pub const FREE: Self = Self { normal: u32::MAX, low: u32::MAX };

    /// What is left of the window with so many waiting in each lane.
    pub fn left(window: u32, waiting: impl Fn(Lane) -> u64) -> Self {
        let left = |lane| u64::from(window).saturating_sub(waiting(lane)) as u32;
        Self { normal: left(Lane::Normal), low: left(Lane::Low) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { least: 10, most: 1000 };
    const REACH: Duration = Duration::from_secs(30);

    #[test]
    fn the_window_follows_the_rate_within_its_bounds() {
        assert_eq!(window(None, REACH, BOUNDS), 1000);
        assert_eq!(window(Some(5.0), REACH, BOUNDS), 150);
        assert_eq!(window(Some(0.01), REACH, BOUNDS), 10);
        assert_eq!(window(Some(0.0), REACH, BOUNDS), 10);
        assert_eq!(window(Some(f64::NAN), REACH, BOUNDS), 10);
        assert_eq!(window(Some(f64::INFINITY), REACH, BOUNDS), 1000);
        let odd = Bounds { least: 50, most: 20 };
        assert_eq!(window(Some(0.0), REACH, odd), 50, "the permits are fed");
    }

    #[test]
    fn an_idle_pipeline_is_not_taken_for_a_slow_one() {
        let mut time = ServiceTime::default();
        assert_eq!(time.rate(), None);
        for _ in 0..200 {
            time.note(Duration::from_mins(1), Duration::from_millis(5));
        }
        let rate = time.rate().unwrap();
        assert!((199.0..=201.0).contains(&rate), "{rate}");
        // Then something always waits, and a lease comes every half second.
        for _ in 0..200 {
            time.note(Duration::from_millis(500), Duration::from_secs(20));
        }
        let rate = time.rate().unwrap();
        assert!((1.9..=2.1).contains(&rate), "{rate}");
    }

    #[test]
    fn lanes_do_not_take_each_others_room() {
        let waiting = |lane| if lane == Lane::Normal { 400 } else { 3 };
        assert_eq!(Room::left(100, waiting), Room { normal: 0, low: 97 });
    }

    proptest! {
        /// A backlog is claimed over the time that it takes at the true rate,
        /// less what the window runs ahead; and a queued job waits about as
        /// long as the window reaches.
        #[test]
        fn a_backlog_is_spread_over_the_time_it_takes(
            backlog in 3_000_u32..30_000, each_ms in 20_u64..2_000,
        ) {
            let each = Duration::from_millis(each_ms);
            let (mut time, mut queued, mut left) = (ServiceTime::default(), 0_u32, backlog);
            let (mut waits, mut last_claim) = (std::collections::VecDeque::new(), 0_u32);
            for done in 0..backlog {
                let room = Room::left(window(time.rate(), REACH, BOUNDS), |_| u64::from(queued));
                let claimed = room.normal.min(left);
                for _ in 0..claimed {
                    waits.push_back(done);
                    last_claim = done;
                }
                (queued, left) = (queued + claimed, left - claimed);
                let claimed_at = waits.pop_front().expect("never idle while something is left");
                queued -= 1;
                time.note(each, each * (done - claimed_at + 1));
            }
            prop_assert_eq!(left, 0);
            let (all, last) = (each * backlog, each * last_claim);
            prop_assert!(last <= all);
            let ahead = all - last;
            let first_claim = each * BOUNDS.most;
            prop_assert!(ahead <= (REACH + each * 2).max(each * BOUNDS.least).min(first_claim),
                "the last claim ran {ahead:?} ahead");
        }
    }
}
