//! Who goes next when everybody wants to (SPEC section 2): weights among the
//! lanes, a permit kept for the high lane, a cap for each team.
//!
//! Used by the dispatcher and by the intake, so that neither undoes what the
//! other arranged.

use std::collections::BTreeMap;

use super::ids::TeamId;
use super::job::Lane;

/// One round of the smooth weighted round robin 6:3:1: each lane's turns lie
/// as far apart as they can.
const ROUND: [Lane; 10] = {
    use Lane::{High, Low, Normal};
    [High, Normal, High, High, Normal, High, Low, High, Normal, High]
};

/// Chooses among lanes by weight 6:3:1.
///
/// The state is a place in a fixed round. A lane with nothing waiting is
/// passed over, so no turn is wasted; and since every choice moves on, a lane
/// with something waiting gets its turn within one round, whatever the others
/// do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FairLanes {
    place: usize,
}

impl FairLanes {
    /// The lane whose turn it is among those with something waiting; `None`
    /// when nothing waits. The turn is used up.
    pub fn next(&mut self, waits: impl Fn(Lane) -> bool) -> Option<Lane> {
        for step in 0..ROUND.len() {
            let place = (self.place + step) % ROUND.len();
            if waits(ROUND[place]) {
                self.place = (place + 1) % ROUND.len();
                return Some(ROUND[place]);
            }
        }
        None
    }

    /// Splits `slots` among the lanes by how many wait in each: the counts for
    /// high, normal and low, as if [`FairLanes::next`] had been asked so often.
    pub fn split(&mut self, slots: usize, waiting: [u64; 3]) -> [usize; 3] {
        let mut taken = [0_usize; 3];
        for _ in 0..slots {
            let Some(lane) = self.next(|lane| waiting[lane as usize] > taken[lane as usize] as u64)
            else {
                break;
            };
            taken[lane as usize] += 1;
        }
        taken
    }
}

/// The limits of what runs at once on this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permits {
    /// Runs at once.
    pub total: usize,
    /// Of these, kept for the high lane; at least one always stays for the
    /// others.
    pub kept_for_high: usize,
    /// Runs of one team at once while others wait.
    pub per_team: usize,
}

impl Default for Permits {
    fn default() -> Self {
        Self { total: 5, kept_for_high: 1, per_team: 2 }
    }
}

/// Who asks, and what runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// The asker's lane.
    pub lane: Lane,
    /// Runs of all teams.
    pub running: usize,
    /// Of these, runs of the other lanes than the high one. Only they are
    /// counted against the permit that is kept, or a high lane that always
    /// wants more would take every permit that comes back.
    pub running_not_high: usize,
    /// Runs of the asker's team.
    pub running_of_team: usize,
    /// Whether a job of another team waits that could run instead.
    pub others_wait: bool,
}

/// What runs at once on this replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    total: usize,
    not_high: usize,
    by_team: BTreeMap<TeamId, usize>,
}

impl Running {
    /// Runs of all teams.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Runs of one team.
    pub fn of_team(&self, team: TeamId) -> usize {
        self.by_team.get(&team).copied().unwrap_or(0)
    }

    /// A job of this team and lane asks to start.
    pub fn asking(&self, team: TeamId, lane: Lane, others_wait: bool) -> Asking {
        Asking {
            lane,
            running: self.total,
            running_not_high: self.not_high,
            running_of_team: self.of_team(team),
            others_wait,
        }
    }

    /// A run began.
    pub fn begin(&mut self, team: TeamId, lane: Lane) {
        self.total += 1;
        self.not_high += usize::from(lane != Lane::High);
        *self.by_team.entry(team).or_default() += 1;
    }

    /// A run that began has ended.
    pub fn end(&mut self, team: TeamId, lane: Lane) {
        self.total = self.total.saturating_sub(1);
        self.not_high = self.not_high.saturating_sub(usize::from(lane != Lane::High));
        if let Some(count) = self.by_team.get_mut(&team) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_team.remove(&team);
            }
        }
    }
}

/// Whether a job may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// All permits are taken.
    NoPermit,
    /// The last permit is kept for the high lane.
    KeptForHigh,
    /// Its team runs its share, and others wait.
    TeamShare,
}

impl Permits {
    /// Whether a job may start now.
    pub fn admit(&self, asking: &Asking) -> Admission {
        let kept = self.kept_for_high.min(self.total.saturating_sub(1));
        if asking.running >= self.total {
            Admission::NoPermit
        } else if asking.lane != Lane::High && asking.running_not_high >= self.total - kept {
            Admission::KeptForHigh
        } else if asking.others_wait && asking.running_of_team >= self.per_team {
            Admission::TeamShare
        } else {
            Admission::Granted
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lanes() -> impl Strategy<Value = [bool; 3]> {
        any::<[bool; 3]>()
    }

    fn history() -> impl Strategy<Value = FairLanes> {
        prop::collection::vec(lanes(), 0..40).prop_map(|steps| {
            let mut fair = FairLanes::default();
            for waits in steps {
                fair.next(|lane| waits[lane as usize]);
            }
            fair
        })
    }

    #[test]
    fn one_free_lane_gets_every_slot() {
        let mut fair = FairLanes::default();
        assert_eq!(fair.split(20, [0, 0, 50]), [0, 0, 20]);
        assert_eq!(fair.split(20, [3, 0, 2]), [3, 0, 2]);
        assert_eq!(fair.split(20, [0, 0, 0]), [0, 0, 0]);
        assert_eq!(fair.split(10, [50, 50, 50]), [6, 3, 1]);
    }

    #[test]
    fn the_last_permit_waits_for_the_high_lane() {
        let permits = Permits::default();
        let ask = |lane, running, running_of_team, others_wait| {
            let running_not_high = running;
            let asking = Asking { lane, running, running_not_high, running_of_team, others_wait };
            permits.admit(&asking)
        };
        assert_eq!(ask(Lane::Normal, 3, 0, true), Admission::Granted);
        assert_eq!(ask(Lane::Normal, 4, 0, true), Admission::KeptForHigh);
        assert_eq!(ask(Lane::Low, 4, 0, false), Admission::KeptForHigh);
        assert_eq!(ask(Lane::High, 4, 0, true), Admission::Granted);
        assert_eq!(ask(Lane::High, 5, 0, true), Admission::NoPermit);
        assert_eq!(ask(Lane::High, 3, 2, true), Admission::TeamShare);
        assert_eq!(ask(Lane::High, 3, 2, false), Admission::Granted, "nobody else waits");
        let one = Permits { total: 1, ..permits };
        let asking = Asking {
            lane: Lane::Low,
            running: 0,
            running_not_high: 0,
            running_of_team: 0,
            others_wait: false,
        };
        assert_eq!(one.admit(&asking), Admission::Granted, "a single permit serves all lanes");
        let after_people = Asking { running: 4, ..asking };
        let admitted = permits.admit(&after_people);
        assert_eq!(admitted, Admission::Granted, "people keep one permit, not all of them");
    }

    /// A step in the life of a replica: a job asks, or the n-th run ends.
    #[derive(Debug, Clone)]
    enum Step {
        Ask(Lane, TeamId),
        End(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ask = (0..3_usize, 1..=4_i64)
            .prop_map(|(lane, team)| Step::Ask(Lane::ALL[lane], TeamId(team)));
        let end = any::<prop::sample::Index>().prop_map(Step::End);
        prop::collection::vec(prop_oneof![3 => ask, 2 => end], 0..200)
    }

    /// Whether a job of another team waits that its team's share lets run.
    fn others_wait(
        permits: &Permits,
        running: &Running,
        waiting: &[(TeamId, Lane)],
        team: TeamId,
    ) -> bool {
        let runnable = |other: TeamId| other != team && running.of_team(other) < permits.per_team;
        waiting.iter().any(|(other, _)| runnable(*other))
    }

    /// Lets jobs ask and runs end as the steps say; every start is checked by
    /// `check`, which sees what ran and waited before it.
    fn live(
        permits: &Permits,
        steps: Vec<Step>,
        mut check: impl FnMut(&Running, (TeamId, Lane), bool) -> Result<(), TestCaseError>,
    ) -> Result<(), TestCaseError> {
        let mut running = Running::default();
        let mut runs: Vec<(TeamId, Lane)> = Vec::new();
        let mut waiting: Vec<(TeamId, Lane)> = Vec::new();
        for step in steps {
            match step {
                Step::Ask(lane, team) => waiting.push((team, lane)),
                Step::End(which) if !runs.is_empty() => {
                    let (team, lane) = runs.swap_remove(which.index(runs.len()));
                    running.end(team, lane);
                }
                Step::End(_) => {}
            }
            let may = |(team, lane): &(TeamId, Lane)| {
                let others = others_wait(permits, &running, &waiting, *team);
                permits.admit(&running.asking(*team, *lane, others)) == Admission::Granted
            };
            // One start a step, so that jobs pile up behind the permits.
            if let Some(place) = waiting.iter().position(may) {
                let (team, lane) = waiting[place];
                let others = others_wait(permits, &running, &waiting, team);
                waiting.remove(place);
                running.begin(team, lane);
                runs.push((team, lane));
                check(&running, (team, lane), others)?;
            }
            prop_assert_eq!(running.total(), runs.len());
        }
        for (team, lane) in runs {
            running.end(team, lane);
        }
        prop_assert_eq!(running, Running::default(), "what ended leaves no trace");
        Ok(())
    }

    proptest! {
        #[test]
        fn no_more_run_than_there_are_permits(steps in steps()) {
            let permits = Permits::default();
            live(&permits, steps, |running, _, _| {
                prop_assert!(running.total() <= 5);
                prop_assert!(running.not_high <= 4, "one is kept for people");
                Ok(())
            })?;
        }

        #[test]
        fn a_team_takes_more_than_its_share_only_when_nobody_else_waits(steps in steps()) {
            let permits = Permits::default();
            live(&permits, steps, |running, (team, _), others_wait| {
                prop_assert!(running.of_team(team) <= 2 || !others_wait);
                Ok(())
            })?;
        }

        #[test]
        fn a_person_waits_only_when_every_permit_is_taken(steps in steps()) {
            let permits = Permits::default();
            live(&permits, steps, |running, _, _| {
                let asking = running.asking(TeamId(99), Lane::High, false);
                let refused = permits.admit(&asking) != Admission::Granted;
                prop_assert_eq!(refused, running.total() == 5);
                Ok(())
            })?;
        }

        #[test]
        fn any_ten_turns_are_six_three_one(mut fair in history()) {
            let mut counts = [0; 3];
            for _ in 0..10 {
                let lane = fair.next(|_| true).expect("all wait");
                counts[lane as usize] += 1;
            }
            prop_assert_eq!(counts, [6, 3, 1]);
        }

        #[test]
        fn no_turn_is_wasted(mut fair in history(), waits in lanes()) {
            let lane = fair.next(|lane| waits[lane as usize]);
            prop_assert_eq!(lane.is_some(), waits.contains(&true));
            prop_assert!(lane.is_none_or(|lane| waits[lane as usize]));
        }

        #[test]
        fn whoever_waits_is_served_within_a_round(
            mut fair in history(),
            patient in 0..3_usize,
            others in prop::collection::vec(lanes(), 10),
        ) {
            let served = others.into_iter().any(|waits| {
                let lane = fair.next(|lane| lane as usize == patient || waits[lane as usize]);
                lane.is_some_and(|lane| lane as usize == patient)
            });
            prop_assert!(served);
        }
    }
}
