//! What must hold through every history, that the histories reach what they
//! are about, and that each guard is needed for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use time::OffsetDateTime;

use super::model::{Decided, Model, Nodes, ROWS, Step, lacks, name, step};
use super::*;
use crate::domain::baseline::{Baseline, HoldState, StoredHold};
use crate::domain::ids::ExternalId;
use crate::domain::sample::*;
use crate::domain::scope::DataType;

/// What the properties are stated by, whatever rules a model runs with.
const RULES: fn() -> RemovalRules = RemovalRules::default;

/// Whether so many of these times can be chosen that lie a gap apart.
fn apart(times: &[OffsetDateTime], count: usize) -> bool {
    let mut chosen: Vec<OffsetDateTime> = Vec::new();
    for time in times {
        if chosen.last().is_none_or(|last| *time - *last >= RULES().confirm_gap) {
            chosen.push(*time);
        }
    }
    chosen.len() >= count
}

fn live(mirror: &Baseline) -> BTreeSet<ExternalId> {
    let rows = mirror.environments.iter().filter(|(_, row)| !row.flags.stale);
    rows.map(|(id, _)| id.clone()).collect()
}

impl Model {
    fn binding<'a>(
        &self,
        before: &'a Baseline,
        data_type: DataType,
        item: &ExternalId,
    ) -> Vec<&'a StoredHold> {
        let binds = |hold: &&StoredHold| {
            let quiet = |at| self.now < at + RULES().rejected_for;
            hold.data_type == data_type
                && hold.items.contains(item)
                && (hold.state != HoldState::Rejected || hold.decided_at.is_some_and(quiet))
        };
        before.holds.iter().filter(binds).collect()
    }

    /// The properties of one run.
    pub(super) fn check(&self, run: &Decided<'_>) -> Result<(), TestCaseError> {
        if !run.complete {
            prop_assert!(run.environments.stale.is_empty() && run.environments.missing.is_empty());
            prop_assert!(run.nodes.stale.is_empty() && run.nodes.missing.is_empty());
        }
        self.check_environments(run)?;
        self.check_nodes(run)
    }

    /// No row goes without two complete listings, or one and an answer; no
    /// held one without a decision or three listings; no rejected one at all;
    /// and no single answer of the platform takes more than the guard lets by.
    fn check_environments(&self, run: &Decided<'_>) -> Result<(), TestCaseError> {
        let live = live(run.before);
        let absent: BTreeSet<_> = run.absence.environments.iter().cloned().collect();
        let confirmed = |id: &ExternalId| {
            run.answered.iter().any(|(probed, answer)| {
                probed == id && matches!(answer, ProbeAnswer::Gone | ProbeAnswer::Transferred)
            })
        };
        let mut ids = BTreeSet::new();
        for (id, reason) in &run.environments.stale {
            prop_assert!(ids.insert(id.clone()), "{} twice", id);
            prop_assert!(live.contains(id) && absent.contains(id), "{} was there", id);
            let lacked = &self.lacked[id];
            let holds = self.binding(run.before, DataType::Environments, id);
            let by = |state| holds.iter().any(|hold| hold.state == state);
            prop_assert!(!by(HoldState::Rejected), "{} is served by decision", id);
            let enough = if confirmed(id) {
                !lacked.is_empty()
            } else if by(HoldState::Released) {
                lacked.len() >= 2
            } else if by(HoldState::Held) {
                apart(lacked, 1 + RULES().release_after as usize)
            } else {
                apart(lacked, 2)
            };
            prop_assert!(enough, "{id} went by {reason:?} with {lacked:?}");
        }
        for (id, _) in &run.environments.missing {
            prop_assert!(ids.insert(id.clone()), "{} twice", id);
            prop_assert!(live.contains(id) && absent.contains(id), "{} was there", id);
        }
        let single = run.environments.stale.iter().filter(|(id, _)| self.lacked[id].len() == 1);
        let single = single.count();
        let allowed = (live.len() * usize::from(RULES().hold_percent) / 100)
            .max(RULES().hold_min.saturating_sub(1));
        let small = live.len() <= RULES().probe_limit && live.is_subset(&absent);
        prop_assert!(single <= allowed || (small && single <= RULES().probe_limit));
        Ok(())
    }

    /// A node goes with its environment or by its environment's own answer;
    /// environments that fall to no node at all are guarded like rows.
    fn check_nodes(&self, run: &Decided<'_>) -> Result<(), TestCaseError> {
        let gone: BTreeSet<_> = run.environments.stale.iter().map(|(id, _)| id).collect();
        let mut ids = BTreeSet::new();
        let mut emptied: BTreeSet<&ExternalId> = BTreeSet::new();
        for (id, reason) in &run.nodes.stale {
            prop_assert!(ids.insert(id.clone()), "{} twice", id);
            let row = &run.before.nodes[id];
            let parent = row.parent.as_ref().expect("a parent");
            prop_assert!(!row.flags.stale);
            let parent_gone = gone.contains(parent) || run.before.environments[parent].flags.stale;
            if *reason == StaleReason::EnvironmentGone {
                prop_assert!(parent_gone, "{} went with {}, which stays", id, parent);
                continue;
            }
            let lacked = self.lacked_nodes.get(id).map_or(&[][..], Vec::as_slice);
            prop_assert_eq!(lacked.last(), Some(&self.now), "{} was not denied", id);
            let holds = self.binding(run.before, DataType::Nodes, parent);
            let by = |state| holds.iter().any(|hold| hold.state == state);
            let empty =
                run.absence.nodes.iter().any(|left| left.environment == *parent && left.emptied);
            if !empty {
                continue;
            }
            prop_assert!(!by(HoldState::Rejected), "{} is served by decision", id);
            if by(HoldState::Released) {
                prop_assert!(lacked.len() >= 2);
            } else if by(HoldState::Held) {
                prop_assert!(apart(lacked, 1 + RULES().release_after as usize), "{lacked:?}");
            } else {
                emptied.insert(parent);
            }
        }
        let with_nodes: BTreeSet<_> = run
            .before
            .nodes
            .values()
            .filter(|row| !row.flags.stale)
            .filter_map(|row| row.parent.as_ref())
            .collect();
        prop_assert!(!RULES().holds(emptied.len(), with_nodes.len()), "{emptied:?}");
        prop_assert!(emptied.len() < 2 || emptied.len() < with_nodes.len());
        Ok(())
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1_usize), Just(6), Just(20), Just(ROWS)]
}

/// The same histories each time, through a model made so; and what they met.
fn histories(
    model: impl Fn(usize) -> Model,
) -> (Result<(), String>, BTreeMap<&'static str, usize>) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let seen = RefCell::new(BTreeMap::new());
    let result = runner.run(&(size(), prop::collection::vec(step(), 1..40)), |(size, steps)| {
        let mut model = model(size);
        let result = steps.iter().try_for_each(|step| model.run(step));
        for (what, count) in model.seen {
            *seen.borrow_mut().entry(what).or_default() += count;
        }
        result
    });
    let result = result.map_err(|error| match error {
        TestError::Fail(reason, _) => reason.to_string(),
        TestError::Abort(reason) => panic!("no history was judged: {reason}"),
    });
    (result, seen.into_inner())
}

/// The histories come by everything that the properties speak of: none of them
/// holds for want of a case.
#[test]
fn the_histories_meet_all_there_is() {
    let (result, seen) = histories(|size| Model::new(size, RULES()));
    assert_eq!(result, Ok(()));
    let wanted = [
        "deleted",
        "transferred",
        "missed_twice",
        "hold_released",
        "left_environment",
        "environment_gone",
        "held",
        "held nodes",
        "joined",
        "agreed",
        "shrunk",
        "expired",
        "released by people",
        "released by listings",
        "rejected",
    ];
    for what in wanted {
        assert!(seen.get(what).is_some_and(|count| *count >= 10), "{what}: {seen:#?}");
    }
}

/// Controls: with one guard off, a history is found that takes too much.
#[test]
fn without_a_guard_some_history_removes_a_row_too_soon() {
    let rules = RULES();
    let fails = |what: &str, model: &dyn Fn(usize) -> Model| {
        assert!(histories(model).0.is_err(), "nobody misses {what}");
    };
    let with = |rules: RemovalRules| move |size| Model::new(size, rules);
    fails("the threshold", &with(RemovalRules { hold_min: usize::MAX, ..rules }));
    fails("the gap", &with(RemovalRules { confirm_gap: std::time::Duration::ZERO, ..rules }));
    fails("agreement", &with(RemovalRules { release_after: 1, ..rules }));
    fails(
        "the quiet after a rejection",
        &with(RemovalRules { rejected_for: std::time::Duration::ZERO, ..rules }),
    );
    fails("completeness", &|size| {
        let mut model = Model::new(size, rules);
        model.credulous = true;
        model
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_history_removes_a_row_without_evidence(
        size in size(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut model = Model::new(size, RULES());
        for step in &steps {
            model.run(step)?;
        }
    }

    /// The other side: what stays away is gone in the end, whatever happened
    /// before, unless somebody decided otherwise.
    #[test]
    fn what_stays_away_is_gone_in_the_end(
        size in size(),
        lacks in lacks(),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let mut model = Model::new(size, RULES());
        for step in steps.iter().filter(|step| !matches!(step, Step::Decide { release: false })) {
            model.run(step)?;
        }
        for _ in 0..8 {
            model.run(&Step::Wait { minutes: 10 })?;
            model.run(&Step::Listing {
                lacks: lacks.clone(),
                nodes: vec![Nodes::Both],
                complete: true,
                answers: vec![ProbeAnswer::Unknown],
            })?;
        }
        let stays = (0..size).filter(|row| !lacks.contains(row));
        let expected: BTreeSet<_> = stays.map(|row| id(name(row))).collect();
        prop_assert_eq!(live(&model.mirror), expected);
    }
}
