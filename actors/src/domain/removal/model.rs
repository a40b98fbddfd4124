//! A mirror that goes through random histories of listings, answers and
//! decisions, and a book in which the evidence against each row is kept by
//! other means than the rules keep it. What must hold is in `properties`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::domain::baseline::{Baseline, HoldState, RowFlags, StoredHold};
use crate::domain::ids::{ExternalId, HoldId};
use crate::domain::plan::{Absence, Planner};
use crate::domain::sample::*;
use crate::domain::scope::DataType;
use crate::domain::snapshot::{Completeness, PartialReason};

pub(super) const ROWS: usize = 30;

/// What an environment's own answer says of its two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nodes {
    Both,
    One,
    Empty,
    /// No list at all.
    Silent,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A listing that lacks these rows, what it says of the others' nodes in
    /// turn, and what probes would answer.
    Listing { lacks: BTreeSet<usize>, nodes: Vec<Nodes>, complete: bool, answers: Vec<ProbeAnswer> },
    /// Somebody decides the oldest hold that waits.
    Decide { release: bool },
    /// Time passes.
    Wait { minutes: u64 },
}

pub(super) fn lacks() -> impl Strategy<Value = BTreeSet<usize>> {
    prop_oneof![
        Just(BTreeSet::new()),
        Just((0..ROWS).collect()),
        prop::collection::btree_set(0..ROWS, 0..4),
        prop::collection::btree_set(0..ROWS, 0..ROWS),
        // The same rows again and again, so that evidence can gather.
        (0..ROWS).prop_map(|from| (from..ROWS).collect()),
        Just((0..2).collect()),
        Just((0..3).collect()),
        Just((0..6).collect()),
        Just((0..12).collect()),
    ]
}

fn shown() -> impl Strategy<Value = Vec<Nodes>> {
    let mixed = prop_oneof![
        6 => Just(Nodes::Both),
        1 => Just(Nodes::One),
        2 => Just(Nodes::Empty),
        1 => Just(Nodes::Silent),
    ];
    prop_oneof![
        4 => Just(vec![Nodes::Both]),
        1 => Just(vec![Nodes::Empty]),
        1 => Just(vec![Nodes::Both, Nodes::Empty]),
        1 => Just(vec![Nodes::One]),
        2 => prop::collection::vec(mixed, 1..8),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(ProbeAnswer::Gone),
        4 => Just(ProbeAnswer::Unknown),
        1 => Just(ProbeAnswer::Transferred),
    ];
    let answers = prop_oneof![
        4 => Just(vec![ProbeAnswer::Unknown]),
        2 => Just(vec![ProbeAnswer::Gone]),
        2 => prop::collection::vec(answer, 1..8),
        1 => Just(vec![ProbeAnswer::Gone, ProbeAnswer::StillOwn]),
    ];
    prop_oneof![
        6 => (lacks(), shown(), prop::bool::weighted(0.8), answers).prop_map(
            |(lacks, nodes, complete, answers)| Step::Listing { lacks, nodes, complete, answers }
        ),
        1 => any::<bool>().prop_map(|release| Step::Decide { release }),
        4 => prop_oneof![Just(1), Just(9), Just(10), Just(60), Just(8 * 24 * 60)]
            .prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// What a run decided, and all that it decided by.
pub(super) struct Decided<'a> {
    pub before: &'a Baseline,
    pub absence: &'a Absence,
    /// What the listing really was.
    pub complete: bool,
    pub answered: &'a [(ExternalId, ProbeAnswer)],
    pub environments: &'a Decision,
    pub nodes: &'a NodesDecision,
}

/// Times of complete listings in a row that lacked a row.
pub(super) type Evidence = BTreeMap<ExternalId, Vec<OffsetDateTime>>;

pub(super) struct Model {
    pub rules: RemovalRules,
    /// A guard that is off: partial listings are taken for complete ones.
    pub credulous: bool,
    pub now: OffsetDateTime,
    pub mirror: Baseline,
    pub lacked: Evidence,
    pub lacked_nodes: Evidence,
    /// How often something happened, by name.
    pub seen: BTreeMap<&'static str, usize>,
    next_hold: i64,
}

impl Model {
    pub(super) fn new(size: usize, rules: RemovalRules) -> Self {
        let mut mirror = Baseline::default();
        for row in 0..size {
            let [a, b] = node_names(row);
            let one = super::super::sample::mirror(&[(&name(row), &[&a, &b])]);
            mirror.environments.extend(one.environments);
            mirror.nodes.extend(one.nodes);
        }
        Self {
            rules,
            credulous: false,
            now: NOW,
            mirror,
            lacked: Evidence::new(),
            lacked_nodes: Evidence::new(),
            seen: BTreeMap::new(),
            next_hold: 1,
        }
    }

    pub(super) fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait { minutes } => self.now += Duration::from_secs(minutes * 60),
            Step::Decide { release } => self.decide(*release),
            Step::Listing { lacks, nodes, complete, answers } => {
                self.list(lacks, nodes, *complete, answers)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn decide(&mut self, release: bool) {
        let now = self.now;
        let waiting = |hold: &&mut StoredHold| hold.state == HoldState::Held;
        let Some(hold) = self.mirror.holds.iter_mut().find(waiting) else { return };
        hold.state = if release { HoldState::Released } else { HoldState::Rejected };
        hold.decided_at = Some(now);
        self.note(if release { "released by people" } else { "rejected" });
    }

    fn list(
        &mut self,
        lacks: &BTreeSet<usize>,
        says: &[Nodes],
        complete: bool,
        answers: &[ProbeAnswer],
    ) -> Result<(), TestCaseError> {
        let before = self.mirror.clone();
        let mut planner = Planner::new(&before, false);
        let size = before.environments.len();
        let mut shown: BTreeMap<ExternalId, Nodes> = BTreeMap::new();
        let rows = (0..size).filter(|row| !lacks.contains(row)).zip(says.iter().cycle());
        for (row, says) in rows {
            let [a, b] = node_names(row);
            let all = [a.as_str(), b.as_str()];
            let count = match says {
                Nodes::Both => 2,
                Nodes::One => 1,
                Nodes::Empty | Nodes::Silent => 0,
            };
            let mut element = element(&name(row), &all[..count]);
            if *says == Nodes::Silent {
                element.nodes = None;
            }
            for planned in planner.accept(listed(element)) {
                let table = match planned.item.data_type() {
                    DataType::Nodes => &mut self.mirror.nodes,
                    _ => &mut self.mirror.environments,
                };
                table.get_mut(&planned.item.id).expect("row").flags = RowFlags::default();
            }
            shown.insert(id(name(row)), *says);
        }
        let how = if complete || self.credulous {
            Completeness::Complete
        } else {
            Completeness::Partial(PartialReason::Truncated)
        };
        let absence = planner.finish(how);
        let question = question(&self.rules, &before, &absence, self.now);
        prop_assert!(question.probe.len() <= self.rules.probe_limit);
        let answered: Vec<_> = question
            .probe
            .iter()
            .zip(answers.iter().cycle())
            .map(|(probe, answer)| (probe.id.clone(), *answer))
            .collect();
        let environments = decide(&question, &answered);
        let found = answered.iter().any(|(_, answer)| *answer == ProbeAnswer::StillOwn);
        prop_assert_eq!(environments.contradicted, found);
        let nodes = nodes(&self.rules, &before, &absence, &environments, self.now);
        self.weigh(&before, &shown, complete && !found);
        let decided = Decided {
            before: &before,
            absence: &absence,
            complete: complete && !found,
            answered: &answered,
            environments: &environments,
            nodes: &nodes,
        };
        self.check(&decided)?;
        self.store(environments, nodes);
        Ok(())
    }

    /// Writes down what this listing says for and against each row.
    fn weigh(&mut self, before: &Baseline, shown: &BTreeMap<ExternalId, Nodes>, complete: bool) {
        let now = self.now;
        for (id, row) in &before.environments {
            if shown.contains_key(id) {
                self.lacked.remove(id);
            } else if complete && !row.flags.stale {
                self.lacked.entry(id.clone()).or_default().push(now);
            }
        }
        for (id, row) in &before.nodes {
            let says = row.parent.as_ref().and_then(|parent| shown.get(parent));
            let first = id.as_str().ends_with('a');
            match says {
                Some(Nodes::Both) => drop(self.lacked_nodes.remove(id)),
                Some(Nodes::One) if first => drop(self.lacked_nodes.remove(id)),
                Some(Nodes::One | Nodes::Empty) if complete => {
                    self.lacked_nodes.entry(id.clone()).or_default().push(now);
                }
                _ => {}
            }
        }
    }

    fn store(&mut self, environments: Decision, nodes: NodesDecision) {
        for (table, missing, stale) in [
            (&mut self.mirror.environments, environments.missing, environments.stale),
            (&mut self.mirror.nodes, nodes.missing, nodes.stale),
        ] {
            for (id, reason) in missing {
                let flags = &mut table.get_mut(&id).expect("row").flags;
                flags.missing_since.get_or_insert(self.now);
                flags.needs_validation = true;
                flags.held = reason == MissingReason::Held;
            }
            for (id, reason) in stale {
                *self.seen.entry(reason.as_str()).or_default() += 1;
                table.get_mut(&id).expect("row").flags =
                    RowFlags { stale: true, ..RowFlags::default() };
            }
        }
        for change in environments.holds.into_iter().chain(nodes.holds) {
            self.change(change);
        }
        self.mirror.holds.retain(|hold| hold.state != HoldState::Expired);
    }

    fn change(&mut self, change: HoldChange) {
        let now = self.now;
        match change {
            HoldChange::Open { data_type, items, .. } => {
                let open = self
                    .mirror
                    .holds
                    .iter_mut()
                    .find(|hold| hold.data_type == data_type && hold.state == HoldState::Held);
                if let Some(hold) = open {
                    hold.items.extend(items);
                    (hold.agreeing_listings, hold.counted_at) = (0, now);
                    return self.note("joined");
                }
                let hold = StoredHold {
                    id: HoldId(self.next_hold),
                    data_type,
                    state: HoldState::Held,
                    items,
                    agreeing_listings: 0,
                    created_at: now,
                    counted_at: now,
                    decided_at: None,
                };
                self.mirror.holds.push(hold);
                self.next_hold += 1;
                self.note(if data_type == DataType::Nodes { "held nodes" } else { "held" });
            }
            HoldChange::Agree { id } => {
                let hold = self.hold(id);
                hold.agreeing_listings += 1;
                hold.counted_at = now;
                self.note("agreed");
            }
            HoldChange::Release { id } => {
                self.hold(id).state = HoldState::Released;
                self.note("released by listings");
            }
            HoldChange::Expire { id } => {
                self.hold(id).state = HoldState::Expired;
                self.note("expired");
            }
            HoldChange::Shrink { id, returned } => {
                self.hold(id).items.retain(|item| !returned.contains(item));
                self.note("shrunk");
            }
        }
    }

    fn hold(&mut self, id: HoldId) -> &mut StoredHold {
        self.mirror.holds.iter_mut().find(|hold| hold.id == id).expect("hold")
    }
}

pub(super) fn name(row: usize) -> String {
    format!("e{row:02}")
}

fn node_names(row: usize) -> [String; 2] {
    ["a", "b"].map(|node| format!("e{row:02}-{node}"))
}
