//! Trouble by the clock: spells of illness, one after the other, all drawn from a seed.
//!
//! Time is cut into rounds of one spell for each kind of trouble, in an order of the round's own,
//! so that nothing is left out for long. Equal seeds give equal spells; what a spell does to which
//! request is up to the clients. Deliberately absent: trouble that only a person can end. Each
//! spell ends by itself, and so does the door's.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::door::Door;
use super::fault::{Fault, HangAt};
use super::faults::FaultRule;
use super::{Shared, SimulatorError};

/// When the platform is ill, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Equal seeds give equal spells.
    pub seed: u64,
    /// From one spell's time to the next one's.
    pub every_ms: u64,
    /// The longest that a spell lasts; the shortest is half of it.
    pub lasting_ms: u64,
    /// Only these kinds of trouble, named as in [`Schedule::kinds`]; all when empty.
    #[serde(default)]
    pub only: Vec<String>,
}

/// What a spell does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Answers suffer.
    Fault(FaultRule),
    /// The door is shut.
    Door(Door),
}

/// A time of trouble.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spell {
    /// The kind, as in [`Schedule::kinds`].
    pub kind: &'static str,
    /// When it begins, in milliseconds of the schedule.
    pub from_ms: u64,
    /// When it ends.
    pub until_ms: u64,
    /// What happens.
    pub trouble: Trouble,
}

type Draw = fn(&mut Xoshiro256PlusPlus) -> Fault;

/// Every kind of trouble that answers can have, with the values drawn anew each time.
const KINDS: [(&str, Draw); 28] = [
    ("throttled", |_| Fault::Status { code: 429, retry_after: Some(1) }),
    ("server_error", |rng| {
        let code = [500, 502, 503, 504][rng.random_range(0..4)];
        Fault::Status { code, retry_after: None }
    }),
    ("result", |rng| Fault::Result { code: [1, 17, 99][rng.random_range(0..3)], error: None }),
    ("nested", |_| Fault::Nested { code: 99 }),
    ("html", |_| Fault::Html),
    ("redirect", |_| Fault::Redirect { location: "https://elsewhere.invalid/".to_owned() }),
    ("expired", |_| Fault::Expired),
    ("not_allowed", |_| Fault::NotAllowed),
    ("hang_headers", |_| Fault::Hang { at: HangAt::Headers }),
    ("hang_body", |_| Fault::Hang { at: HangAt::Body }),
    ("late", |rng| Fault::DelayMs { ms: rng.random_range(50..2000) }),
    ("drip", |rng| Fault::SlowDrip { bytes: rng.random_range(1..64), interval_ms: 20 }),
    ("truncated", |rng| Fault::Truncate { bytes: rng.random_range(0..40_000), clean: true }),
    ("broken", |rng| Fault::Truncate { bytes: rng.random_range(0..40_000), clean: false }),
    ("huge", |_| Fault::Huge { bytes: 300_000_000 }),
    ("gzip_bomb", |_| Fault::GzipBomb { bytes: 1 << 40 }),
    ("empty", |_| Fault::EmptyList),
    ("dropped", |rng| Fault::DropFraction { fraction: rng.random_range(0.1..0.9) }),
    ("duplicates", |rng| Fault::Duplicate { count: rng.random_range(1..10) }),
    ("malformed", |rng| Fault::MalformedElement { n: rng.random_range(1..5) }),
    ("no_nodes", |rng| Fault::NodesMissing { count: rng.random_range(1..5) }),
    ("unknown_status", |rng| Fault::UnknownStatus { code: rng.random_range(100..999), count: 2 }),
    ("nul", |_| Fault::Nul),
    ("bad_utf8", |_| Fault::BadUtf8),
    ("deep", |_| Fault::Deep { levels: 100_000 }),
    ("no_infos", |rng| {
        let index = rng.random_range(0..3);
        [Fault::InfosMissing, Fault::InfosNull, Fault::InfosType][index].clone()
    }),
    ("collaborator", |rng| Fault::Collaborator {
        foreign: rng.random_range(0..4),
        right: rng.random_bool(0.5).then(|| "USER".to_owned()),
    }),
    ("clock", |rng| Fault::ClockSkew { seconds: if rng.random_bool(0.5) { 3600 } else { -3600 } }),
];

/// And those of the door, and of a page that fails alone.
const OTHERS: [&str; 3] = ["refused", "hang_connect", "page"];

impl Schedule {
    /// The names of all kinds of trouble.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|(kind, _)| *kind).chain(OTHERS)
    }

    /// Refuses times that cannot be and kinds that there are not.
    pub fn check(&self) -> Result<(), SimulatorError> {
        let refuse = |text: String| Err(SimulatorError::Options(text));
        if self.lasting_ms == 0 || self.lasting_ms > self.every_ms {
            return refuse(format!(
                "a spell of {} ms every {} ms: it must last at least 1 ms and no longer than the \
                 time to the next",
                self.lasting_ms, self.every_ms
            ));
        }
        match self.only.iter().find(|wanted| Self::kinds().all(|kind| kind != wanted.as_str())) {
            Some(unknown) => refuse(format!(
                "`{unknown}` is no kind of trouble; there are: {}",
                Self::kinds().collect::<Vec<_>>().join(", ")
            )),
            None => Ok(()),
        }
    }

    /// The spell with this number, from 0.
    pub fn spell(&self, number: u64) -> Spell {
        let wanted = |kind: &&str| self.only.is_empty() || self.only.iter().any(|it| it == kind);
        let mut kinds = Self::kinds().filter(wanted).collect::<Vec<_>>();
        let (round, place) = (number / kinds.len() as u64, number % kinds.len() as u64);
        kinds.shuffle(&mut self.rng(round, 1));
        let kind = kinds[place as usize];

        let rng = &mut self.rng(number, 2);
        let lasting = rng.random_range(self.lasting_ms.div_ceil(2)..=self.lasting_ms);
        let from_ms = number * self.every_ms + rng.random_range(0..=self.every_ms - lasting);
        let drawn = KINDS.iter().find(|(name, _)| *name == kind);
        let trouble = match (drawn, kind) {
            (Some((_, draw)), _) => Trouble::Fault(FaultRule::new(draw(rng))),
            (None, "refused") => Trouble::Door(Door::Refuse),
            (None, "hang_connect") => Trouble::Door(Door::Hang),
            (None, _) => {
                let failing = FaultRule::new(Fault::Result { code: 17, error: None });
                Trouble::Fault(failing.method("searchactions").from_row(1))
            }
        };
        Spell { kind, from_ms, until_ms: from_ms + lasting, trouble }
    }

    fn rng(&self, number: u64, purpose: u64) -> Xoshiro256PlusPlus {
        // Any odd factor will do: neighbours must not look alike.
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(purpose);
        Xoshiro256PlusPlus::seed_from_u64(self.seed ^ mixed)
    }
}

/// Makes the platform ill and well again by the schedule, until dropped; then it is left as it is.
pub(super) async fn keep(shared: &Shared, schedule: &Schedule) {
    let began = Instant::now();
    for number in 0.. {
        let spell = schedule.spell(number);
        sleep_until(began + Duration::from_millis(spell.from_ms)).await;
        tracing::debug!(kind = spell.kind, number, "the simulator falls ill");
        match spell.trouble {
            Trouble::Fault(rule) => shared.faults.schedule(Some(rule)),
            Trouble::Door(door) => shared.door.set(door).await,
        }
        shared.spells.fetch_add(1, Ordering::Relaxed);
        sleep_until(began + Duration::from_millis(spell.until_ms)).await;
        heal(shared).await;
    }
}

/// Ends whatever a spell began.
pub(super) async fn heal(shared: &Shared) {
    shared.faults.schedule(None);
    shared.door.set(Door::Open).await;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn schedule(seed: u64) -> Schedule {
        Schedule { seed, every_ms: 1000, lasting_ms: 400, only: Vec::new() }
    }

    fn spells(schedule: &Schedule, count: u64) -> Vec<Spell> {
        (0..count).map(|number| schedule.spell(number)).collect()
    }

    #[test]
    fn equal_seeds_give_equal_spells() {
        assert_eq!(spells(&schedule(3), 100), spells(&schedule(3), 100));
        assert_ne!(spells(&schedule(3), 100), spells(&schedule(4), 100));
    }

    #[test]
    fn spells_follow_each_other_and_no_kind_is_left_out() {
        let kinds: BTreeSet<_> = Schedule::kinds().collect();
        let rounds = spells(&schedule(7), 5 * kinds.len() as u64);
        for (number, spell) in rounds.iter().enumerate() {
            let lasting = spell.until_ms - spell.from_ms;
            assert!((200..=400).contains(&lasting), "{spell:?}");
            assert_eq!(spell.from_ms / 1000, number as u64);
            assert_eq!((spell.until_ms - 1) / 1000, number as u64);
        }
        let rounds: Vec<Vec<_>> = rounds
            .chunks(kinds.len())
            .map(|round| round.iter().map(|spell| spell.kind).collect())
            .collect();
        for round in &rounds {
            assert_eq!(round.iter().copied().collect::<BTreeSet<_>>(), kinds);
        }
        assert_ne!(rounds[0], rounds[1], "each round has an order of its own");
    }

    #[test]
    fn only_the_wanted_kinds_come() {
        let only = vec!["empty".to_owned(), "page".to_owned()];
        let schedule = Schedule { only, ..schedule(1) };
        schedule.check().unwrap();
        let kinds: BTreeSet<_> = spells(&schedule, 8).iter().map(|spell| spell.kind).collect();
        assert_eq!(kinds, ["empty", "page"].into());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for wrong in [
            Schedule { lasting_ms: 0, ..schedule(1) },
            Schedule { lasting_ms: 1001, ..schedule(1) },
            Schedule { only: vec!["plague".to_owned()], ..schedule(1) },
        ] {
            assert!(matches!(wrong.check(), Err(SimulatorError::Options(_))), "{wrong:?}");
        }
    }
}
