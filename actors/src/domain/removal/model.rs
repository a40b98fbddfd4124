//! A mirror that goes through random histories of listings, answers and
//! decisions, and a book in which the evidence against each row is kept by
//! other means than the rules keep it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::domain::baseline::{Baseline, HoldState, RowFlags, StoredHold};
use crate::domain::ids::{ExternalId, HoldId};
use crate::domain::plan::Planner;
use crate::domain::sample::*;
use crate::domain::snapshot::{Completeness, PartialReason};

const ROWS: usize = 30;

#[derive(Debug, Clone)]
enum Step {
    /// A listing that lacks these rows, and what probes would answer.
    Listing { lacks: BTreeSet<usize>, complete: bool, answers: Vec<ProbeAnswer> },
    /// Somebody decides the oldest hold that waits.
    Decide { release: bool },
    /// Time passes.
    Wait { minutes: u64 },
}

fn lacks() -> impl Strategy<Value = BTreeSet<usize>> {
    prop_oneof![
        Just(BTreeSet::new()),
        Just((0..ROWS).collect()),
        prop::collection::btree_set(0..ROWS, 0..4),
        prop::collection::btree_set(0..ROWS, 0..ROWS),
        // The same rows again and again, so that evidence can gather.
        (0..ROWS).prop_map(|from| (from..ROWS).collect()),
        Just((0..6).collect()),
        Just((0..12).collect()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(ProbeAnswer::Gone),
        4 => Just(ProbeAnswer::Unknown),
        1 => Just(ProbeAnswer::Transferred),
    ];
    let answers = prop_oneof![
        2 => Just(vec![ProbeAnswer::Unknown]),
        2 => Just(vec![ProbeAnswer::Gone]),
        2 => prop::collection::vec(answer, 1..8),
        1 => Just(vec![ProbeAnswer::Gone, ProbeAnswer::StillOwn]),
    ];
    prop_oneof![
        6 => (lacks(), prop::bool::weighted(0.8), answers)
            .prop_map(|(lacks, complete, answers)| Step::Listing { lacks, complete, answers }),
        1 => any::<bool>().prop_map(|release| Step::Decide { release }),
        4 => prop_oneof![Just(1), Just(9), Just(10), Just(60), Just(8 * 24 * 60)]
            .prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// The evidence against one row, kept apart from the rules.
#[derive(Debug, Clone, Default)]
struct Evidence {
    /// Times of complete listings in a row that lacked it.
    lacked: Vec<OffsetDateTime>,
}

struct Model {
    rules: RemovalRules,
    now: OffsetDateTime,
    mirror: Baseline,
    evidence: BTreeMap<ExternalId, Evidence>,
    next_hold: i64,
    staled: usize,
}

impl Model {
    fn new(size: usize) -> Self {
        let mut mirror = Baseline::default();
        for row in 0..size {
            let name = name(row);
            mirror.environments.insert(id(name.as_str()), row_of(&name));
        }
        let evidence = BTreeMap::new();
        let rules = RemovalRules::default();
        Self { rules, now: NOW, mirror, evidence, next_hold: 1, staled: 0 }
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait { minutes } => self.now += Duration::from_secs(minutes * 60),
            Step::Decide { release } => {
                let now = self.now;
                let waiting = |hold: &&mut StoredHold| hold.state == HoldState::Held;
                if let Some(hold) = self.mirror.holds.iter_mut().find(waiting) {
                    hold.state = if *release { HoldState::Released } else { HoldState::Rejected };
                    hold.decided_at = Some(now);
                }
            }
            Step::Listing { lacks, complete, answers } => self.list(lacks, *complete, answers)?,
        }
        Ok(())
    }

    fn list(
        &mut self,
        lacks: &BTreeSet<usize>,
        complete: bool,
        answers: &[ProbeAnswer],
    ) -> Result<(), TestCaseError> {
        let all: Vec<ExternalId> = self.mirror.environments.keys().cloned().collect();
        let lacked: BTreeSet<ExternalId> = lacks.iter().map(|row| id(name(*row))).collect();
        let live: BTreeSet<ExternalId> = self.live();
        let how = if complete {
            Completeness::Complete
        } else {
            Completeness::Partial(PartialReason::Truncated)
        };
        let before = self.mirror.clone();
        let mut planner = Planner::new(&before, false);
        for id in all.iter().filter(|id| !lacked.contains(*id)) {
            for row in planner.accept(listed(element(id.as_str(), &[]))) {
                let stored = self.mirror.environments.get_mut(&row.item.id).expect("row");
                stored.flags = RowFlags::default();
            }
            self.evidence.remove(id);
        }
        let absence = planner.finish(how);
        let question = question(&self.rules, &before, &absence, self.now);
        let most = self.rules.probe_limit.max(self.rules.empty_confirm_max);
        prop_assert!(question.probe.len() <= most);
        let answered: Vec<_> = question
            .probe
            .iter()
            .zip(answers.iter().cycle())
            .map(|(probe, answer)| (probe.id.clone(), *answer))
            .collect();
        let decision = decide(&question, &answered);
        let found = answered.iter().any(|(_, answer)| *answer == ProbeAnswer::StillOwn);
        prop_assert_eq!(decision.contradicted, found);
        if !complete || found {
            prop_assert!(decision.stale.is_empty() && decision.missing.is_empty());
        } else {
            for id in live.intersection(&lacked) {
                self.evidence.entry(id.clone()).or_default().lacked.push(self.now);
            }
        }
        self.check(&decision, &answered, &live, &lacked)?;
        self.store(decision);
        Ok(())
    }

    /// The properties that the issue asks for.
    fn check(
        &self,
        decision: &Decision,
        answered: &[(ExternalId, ProbeAnswer)],
        live: &BTreeSet<ExternalId>,
        lacked: &BTreeSet<ExternalId>,
    ) -> Result<(), TestCaseError> {
        let confirmed = |id: &ExternalId| {
            answered.iter().any(|(probed, answer)| {
                probed == id && matches!(answer, ProbeAnswer::Gone | ProbeAnswer::Transferred)
            })
        };
        let mut ids = BTreeSet::new();
        for (id, reason) in &decision.stale {
            prop_assert!(ids.insert(id.clone()), "{} twice", id);
            prop_assert!(live.contains(id) && lacked.contains(id), "{} was there", id);
            let lacked = &self.evidence[id].lacked;
            prop_assert!(
                lacked.len() >= 2 || (lacked.len() == 1 && confirmed(id)),
                "{id} went by {reason:?} with {lacked:?}"
            );
            if *reason == StaleReason::MissedTwice {
                prop_assert!(self.now - lacked[0] >= self.rules.confirm_gap);
            }
            let waited = self
                .mirror
                .holds
                .iter()
                .any(|hold| hold.state == HoldState::Held && hold.items.contains(id));
            if waited && !confirmed(id) {
                let enough = 1 + self.rules.release_after as usize;
                prop_assert!(lacked.len() >= enough, "{} left its hold by {:?}", id, lacked);
            }
            let rejected = self.mirror.holds.iter().any(|hold| {
                hold.state == HoldState::Rejected
                    && hold.items.contains(id)
                    && hold.decided_at.is_some_and(|at| self.now < at + self.rules.rejected_for)
            });
            prop_assert!(!rejected, "{} is served by decision", id);
        }
        for (id, _) in &decision.missing {
            prop_assert!(ids.insert(id.clone()), "{} twice", id);
            prop_assert!(live.contains(id) && lacked.contains(id), "{} was there", id);
        }
        // No single response: rows that this listing alone condemns.
        let single = decision.stale.iter().filter(|(id, _)| self.evidence[id].lacked.len() == 1);
        let allowed =
            (live.len() * usize::from(self.rules.hold_percent) / 100).max(self.rules.hold_min - 1);
        let small = live.len() <= self.rules.empty_confirm_max && live.is_subset(lacked);
        let single = single.count();
        prop_assert!(single <= allowed || (small && single <= self.rules.empty_confirm_max));
        Ok(())
    }

    fn store(&mut self, decision: Decision) {
        for (id, reason) in decision.missing {
            let flags = &mut self.mirror.environments.get_mut(&id).expect("row").flags;
            flags.missing_since.get_or_insert(self.now);
            flags.needs_validation = true;
            flags.held = reason == MissingReason::Held;
        }
        for (id, _) in decision.stale {
            self.staled += 1;
            self.mirror.environments.get_mut(&id).expect("row").flags =
                RowFlags { stale: true, ..RowFlags::default() };
        }
        for change in decision.holds {
            match change {
                HoldChange::Open { data_type, items, .. } => {
                    let id = HoldId(self.next_hold);
                    self.next_hold += 1;
                    self.mirror.holds.push(StoredHold {
                        id,
                        data_type,
                        state: HoldState::Held,
                        items,
                        agreeing_listings: 0,
                        created_at: self.now,
                        decided_at: None,
                    });
                }
                HoldChange::Agree { id } => self.hold(id).agreeing_listings += 1,
                HoldChange::Release { id } => self.hold(id).state = HoldState::Released,
                HoldChange::Expire { id } => self.hold(id).state = HoldState::Expired,
                HoldChange::Shrink { id, returned } => {
                    self.hold(id).items.retain(|item| !returned.contains(item));
                }
            }
        }
        self.mirror.holds.retain(|hold| hold.state != HoldState::Expired);
    }

    fn hold(&mut self, id: HoldId) -> &mut StoredHold {
        self.mirror.holds.iter_mut().find(|hold| hold.id == id).expect("hold")
    }

    fn live(&self) -> BTreeSet<ExternalId> {
        let rows = self.mirror.environments.iter().filter(|(_, row)| !row.flags.stale);
        rows.map(|(id, _)| id.clone()).collect()
    }
}

fn name(row: usize) -> String {
    format!("e{row:02}")
}

fn row_of(name: &str) -> crate::domain::StoredRow {
    row(None, Some(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_history_removes_a_row_without_evidence(
        size in prop_oneof![Just(1_usize), Just(6), Just(20), Just(ROWS)],
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut model = Model::new(size);
        for step in &steps {
            model.run(step)?;
        }
    }

    /// The other side: what stays away is gone in the end, whatever happened
    /// before, unless somebody decided otherwise.
    #[test]
    fn what_stays_away_is_gone_in_the_end(
        size in prop_oneof![Just(1_usize), Just(6), Just(20), Just(ROWS)],
        lacks in lacks(),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let mut model = Model::new(size);
        for step in steps.iter().filter(|step| !matches!(step, Step::Decide { release: false })) {
            model.run(step)?;
        }
        for _ in 0..8 {
            model.run(&Step::Wait { minutes: 10 })?;
            let answers = vec![ProbeAnswer::Unknown];
            model.run(&Step::Listing { lacks: lacks.clone(), complete: true, answers })?;
        }
        let expected: BTreeSet<_> =
            (0..size).filter(|row| !lacks.contains(row)).map(|row| id(name(row))).collect();
        prop_assert_eq!(model.live(), expected);
        prop_assert!(lacks.iter().all(|row| *row >= size) || model.staled > 0);
    }
}
