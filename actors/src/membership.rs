//! Whether this replica counts as one of the fleet, and so which share of the
//! request limits it may use.
//!
//! The sum of all shares must never exceed the limits, though no replica knows
//! what another knows. Three rules give that. A newcomer waits until everybody
//! has counted it in. A share is lent only until the last heartbeat is so old
//! that others may soon count this replica out. One that was counted out is a
//! newcomer again. Deliberately absent: the limits themselves, and any I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::ports::replicas::Fleet;

/// What a replica knows of its place in the fleet since its last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Who was alive then, this replica included.
    pub fleet: Fleet,
    /// Since when it has been counted without a break.
    joined: Instant,
    /// When the last heartbeat was sent: the database noted it no earlier.
    beat: Instant,
}

/// A share of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// Into how many parts the limits are divided; 0 is no part at all.
    pub parts: u32,
    /// Past this moment the share is nobody's.
    pub until: Instant,
}

impl Membership {
    /// After a heartbeat that was sent at `sent` and answered at `answered`.
    pub fn after_beat(
        before: Option<Self>,
        fleet: Fleet,
        sent: Instant,
        answered: Instant,
        dead_after: Duration,
    ) -> Self {
        // Between two heartbeats so far apart others may have counted this
        // replica out, and divided the limits without it.
        let unbroken = before.filter(|before| answered - before.beat < dead_after);
        Self { fleet, joined: unbroken.map_or(sent, |before| before.joined), beat: sent }
    }

    /// The share that may be used at `now`. Alone, nobody needs to be waited
    /// for.
    pub fn lent(&self, now: Instant, join_wait: Duration) -> Lent {
        let counted = self.fleet.replicas <= 1 || now - self.joined >= join_wait;
        let until = self.beat + join_wait;
        Lent { parts: if counted && now < until { self.fleet.replicas } else { 0 }, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Duration = Duration::from_secs(15);
    const WAIT: Duration = Duration::from_secs(10);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fleet(replicas: u32) -> Fleet {
        Fleet { replicas, permits: replicas * 5 }
    }

    fn beat(before: Option<Membership>, replicas: u32, at: Instant) -> Membership {
        Membership::after_beat(before, fleet(replicas), at, at, DEAD)
    }

    #[test]
    fn a_newcomer_waits_unless_it_is_alone() {
        let start = Instant::now();
        assert_eq!(beat(None, 1, start).lent(start, WAIT).parts, 1);
        let second = beat(None, 2, start);
        assert_eq!(second.lent(start, WAIT).parts, 0);
        let second = beat(Some(second), 2, start + secs(5));
        assert_eq!(second.lent(start + secs(9), WAIT).parts, 0);
        assert_eq!(second.lent(start + secs(10), WAIT).parts, 2);
    }

    #[test]
    fn a_late_heartbeat_ends_the_share() {
        let start = Instant::now();
        let alone = beat(None, 1, start);
        assert_eq!(alone.lent(start, WAIT).until, start + WAIT);
        assert_eq!(alone.lent(start + secs(9), WAIT).parts, 1);
        assert_eq!(alone.lent(start + secs(10), WAIT).parts, 0);
    }

    #[test]
    fn who_was_counted_out_waits_again() {
        let start = Instant::now();
        let old = beat(Some(beat(None, 2, start)), 2, start + secs(14));
        let later = start + secs(14);
        assert_eq!(old.lent(later, WAIT).parts, 2, "the gap was short enough");
        let back = beat(Some(old), 2, later + DEAD);
        assert_eq!(back.lent(later + DEAD, WAIT).parts, 0);
        // What counts is when the answer came: the row may have been written
        // as late as that.
        let sent = later + secs(1);
        let slow = Membership::after_beat(Some(old), fleet(2), sent, later + DEAD, DEAD);
        assert_eq!(slow.lent(later + DEAD, WAIT).parts, 0);
    }
}
