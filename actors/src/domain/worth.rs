//! When a delta is worth its requests, and what it may leave out.
//!
//! A delta asks for the details of what may have changed. What may have
//! changed is told by the action history, and by the lazy listing of all
//! environments. The history costs next to nothing. The lazy listing of a big
//! team costs a good part of a full one, and it is the only thing that vouches
//! for what the history does not know: so it is left out only where nobody
//! relies on that just now. Pure; what a run does with it is in `team_sync`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of what is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaRules {
    /// Changed share of a team, in percent, above which the full listing is
    /// read instead ...
    pub max_percent: u8,
    /// ... but never for so few details.
    pub always_worth: usize,
    /// Teams up to this size are always listed: it costs them little.
    pub list_up_to: usize,
    /// A complete listing, lazy or not, vouches for the environments this
    /// long; then a scheduled delta lists again.
    pub vouched_for: Duration,
    /// Details may take up to this share of a run's time.
    pub run_time: Duration,
}

impl Default for DeltaRules {
    fn default() -> Self {
        Self {
            max_percent: 5,
            always_worth: 20,
            list_up_to: 500,
            vouched_for: Duration::from_mins(15),
            run_time: Duration::from_secs(75),
        }
    }
}

/// Who wants the delta, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nobody waits: its time has come.
    Schedule,
    /// Somebody asked for a delta by name: what the history knows will do.
    Changes,
    /// Somebody wants a younger answer, which only a listing can give.
    Verified,
}

/// What a delta knows before it asks for details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether the history vouches for every action since the cursor.
    pub gapless: bool,
    /// Live environments of the mirror.
    pub environments: usize,
    /// Time since the last complete listing was asked for.
    pub listed_ago: Option<Duration>,
}

impl DeltaRules {
    /// Whether this delta reads the lazy listing.
    pub fn lists(&self, wish: Wish, known: &Known) -> bool {
        !known.gapless
            || known.environments <= self.list_up_to
            || match wish {
                Wish::Verified => true,
                Wish::Changes => false,
                Wish::Schedule => known.listed_ago.is_none_or(|ago| ago >= self.vouched_for),
            }
    }

    /// Whether so many details of so many environments are worth asking for.
    pub fn worth(&self, details: usize, environments: usize) -> bool {
        details <= self.always_worth
            || details * 100 <= environments * usize::from(self.max_percent)
    }

    /// The same once some details have come, by what they really cost: the
    /// rest must not cost the platform more than half of what its last full
    /// listing did, which brings more, nor outlast the run.
    pub fn still_worth(&self, details: usize, cost: &Cost, full: Option<Duration>) -> bool {
        if details <= self.always_worth || cost.details < self.always_worth {
            return true;
        }
        let of_all = |some: Duration| some.mul_f64(details as f64 / cost.details as f64);
        full.is_none_or(|full| of_all(cost.platform) <= full / 2)
            && of_all(cost.elapsed) <= self.run_time
    }
}

/// What the details cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// How many came.
    pub details: usize,
    /// How long the platform took for them.
    pub platform: Duration,
    /// How long we took, waiting for our own limits included.
    pub elapsed: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: Known =
        Known { gapless: true, environments: 10_000, listed_ago: Some(Duration::from_mins(10)) };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_big_team_is_listed_only_for_who_relies_on_it() {
        let rules = DeltaRules::default();
        assert!(!rules.lists(Wish::Schedule, &BIG));
        assert!(!rules.lists(Wish::Changes, &BIG));
        assert!(rules.lists(Wish::Verified, &BIG));
        let old = Known { listed_ago: Some(Duration::from_mins(15)), ..BIG };
        assert!(rules.lists(Wish::Schedule, &old), "nothing vouches for it any more");
        assert!(rules.lists(Wish::Schedule, &Known { listed_ago: None, ..BIG }));
        assert!(!rules.lists(Wish::Changes, &old));
    }

    #[test]
    fn what_the_history_does_not_know_is_listed() {
        let rules = DeltaRules::default();
        for wish in [Wish::Schedule, Wish::Changes, Wish::Verified] {
            assert!(rules.lists(wish, &Known { gapless: false, ..BIG }));
            assert!(rules.lists(wish, &Known { environments: 500, ..BIG }));
        }
    }

    #[test]
    fn a_few_details_are_always_worth_it_and_a_share_of_many() {
        let rules = DeltaRules::default();
        assert!(rules.worth(20, 20));
        assert!(!rules.worth(21, 100));
        assert!(rules.worth(500, 10_000));
        assert!(!rules.worth(501, 10_000));
        assert!(!DeltaRules { max_percent: 0, ..rules }.worth(21, 10_000));
    }

    #[test]
    fn the_price_that_is_paid_decides_in_the_end() {
        let rules = DeltaRules::default();
        let cost = |platform, elapsed| Cost { details: 20, platform, elapsed };
        let cheap = cost(secs(1), secs(2));
        assert!(rules.still_worth(100, &cheap, Some(secs(10))), "5 s of 10");
        assert!(!rules.still_worth(101, &cheap, Some(secs(10))));
        assert!(rules.still_worth(400, &cheap, None), "nothing to compare with");
        let slow = cost(secs(1), secs(10));
        assert!(rules.still_worth(150, &slow, Some(secs(3600))));
        assert!(!rules.still_worth(151, &slow, Some(secs(3600))), "the run would end first");
        let dear = cost(secs(100), secs(100));
        assert!(rules.still_worth(20, &dear, Some(secs(1))), "so few are always worth it");
        assert!(rules.still_worth(500, &Cost { details: 19, ..dear }, Some(secs(1))), "too early");
    }
}
