//! What becomes of nodes that their environment no longer lists.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use super::decide::{Decision, counts};
use super::question::{binds, counts_as_another, shrink};
use super::{EMPTY_LISTING, HoldChange, MissingReason, OVER_PERCENTAGE, RemovalRules, StaleReason};
use crate::domain::baseline::{Baseline, HoldState};
use crate::domain::ids::ExternalId;
use crate::domain::job::Counts;
use crate::domain::plan::{Absence, NodesLeft};
use crate::domain::scope::DataType;

/// What becomes of absent nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodesDecision {
    /// Nodes to mark missing: those of held sets.
    pub missing: Vec<(ExternalId, MissingReason)>,
    /// Nodes to mark stale.
    pub stale: Vec<(ExternalId, StaleReason)>,
    /// What becomes of holds on nodes.
    pub holds: Vec<HoldChange>,
}

impl NodesDecision {
    /// What the decision adds to the nodes' counts.
    pub fn counts(&self) -> Counts {
        counts(&self.missing, &self.stale)
    }
}

/// Judges nodes after [`decide`](super::decide) has judged environments.
///
/// A node is confirmed gone by its environment's own answer. Only
/// environments that fall to zero nodes count towards the guard: autoscaling
/// is no accident, an environment without any node is.
pub fn nodes(
    rules: &RemovalRules,
    baseline: &Baseline,
    absence: &Absence,
    environments: &Decision,
    now: OffsetDateTime,
) -> NodesDecision {
    let mut decision = NodesDecision::default();
    let removes = absence.completeness.judges_nodes() && !environments.contradicted;
    let gone: HashSet<&ExternalId> = environments.stale.iter().map(|(id, _)| id).collect();
    let is_gone = |id: &ExternalId| {
        gone.contains(id) || baseline.environments.get(id).is_none_or(|row| row.flags.stale)
    };
    let seen: HashSet<&ExternalId> = absence.seen.iter().collect();
    if removes {
        // Whatever their environment left behind goes with it, also what an
        // earlier run should have taken.
        let mut orphans: Vec<&ExternalId> = baseline
            .nodes
            .iter()
            .filter(|(_, row)| !row.flags.stale)
            .filter(|(_, row)| {
                row.parent.as_ref().is_some_and(|id| is_gone(id) && !seen.contains(id))
            })
            .map(|(id, _)| id)
            .collect();
        orphans.sort_unstable();
        let reason = StaleReason::EnvironmentGone;
        decision.stale.extend(orphans.into_iter().map(|id| (id.clone(), reason)));
    }

    let left: HashMap<&ExternalId, &NodesLeft> =
        absence.nodes.iter().map(|left| (&left.environment, left)).collect();
    let populated: HashSet<&ExternalId> = absence.populated.iter().collect();
    let emptied = |id: &ExternalId| left.get(id).is_some_and(|left| left.emptied);
    let covered = judge_holds(&mut decision, rules, baseline, now, removes, |id| {
        if populated.contains(id) || is_gone(id) {
            InHold::Left
        } else if emptied(id) {
            InHold::StillEmpty(left[id])
        } else {
            InHold::Unknown
        }
    });
    if !removes {
        return decision;
    }

    let with_nodes: HashSet<&ExternalId> = baseline
        .nodes
        .values()
        .filter(|row| !row.flags.stale)
        .filter_map(|row| row.parent.as_ref())
        .filter(|id| !is_gone(id) && !covered.contains(*id))
        .collect();
    let (empty, partly): (Vec<&NodesLeft>, Vec<&NodesLeft>) = absence
        .nodes
        .iter()
        .filter(|left| !covered.contains(&left.environment))
        .partition(|left| left.emptied);
    for left in partly {
        decision.go(left, StaleReason::LeftEnvironment);
    }
    let guard = if empty.len() > 1 && empty.len() == with_nodes.len() {
        Some(EMPTY_LISTING)
    } else if rules.holds(empty.len(), with_nodes.len()) {
        Some(OVER_PERCENTAGE)
    } else {
        None
    };
    let Some(reason) = guard else {
        for left in empty {
            decision.go(left, StaleReason::LeftEnvironment);
        }
        return decision;
    };
    for left in &empty {
        let missing = left.nodes.iter().map(|id| (id.clone(), MissingReason::Held));
        decision.missing.extend(missing);
    }
    decision.holds.push(HoldChange::Open {
        data_type: DataType::Nodes,
        items: empty.iter().map(|left| left.environment.clone()).collect(),
        of: with_nodes.len() as u64,
        reason: reason.to_owned(),
    });
    decision
}

/// Where an environment of a hold on nodes stands.
enum InHold<'a> {
    /// It has nodes again, or is gone itself.
    Left,
    /// Its own answer still lists none.
    StillEmpty(&'a NodesLeft),
    /// It was not asked, or its answer said nothing of nodes.
    Unknown,
}

/// Moves the holds on nodes; answers the environments whose nodes a hold keeps
/// out of the ordinary rules.
fn judge_holds<'a>(
    decision: &mut NodesDecision,
    rules: &RemovalRules,
    baseline: &Baseline,
    now: OffsetDateTime,
    removes: bool,
    stands: impl Fn(&ExternalId) -> InHold<'a>,
) -> HashSet<ExternalId> {
    let mut covered = HashSet::new();
    for hold in baseline.holds.iter().filter(|hold| hold.data_type == DataType::Nodes) {
        if hold.state == HoldState::Expired {
            continue;
        }
        let mut back = Vec::new();
        let mut empty = Vec::new();
        let mut unknown = 0;
        for id in &hold.items {
            match stands(id) {
                InHold::Left => back.push(id.clone()),
                InHold::StillEmpty(left) => empty.push(left),
                InHold::Unknown => {
                    unknown += 1;
                    covered.insert(id.clone());
                }
            }
        }
        let whole = back.is_empty() && unknown == 0;
        let all_back = empty.is_empty() && unknown == 0;
        decision.holds.extend(shrink(hold.id, back, all_back));
        if !removes || all_back || !binds(hold, rules, now) {
            continue;
        }
        covered.extend(empty.iter().map(|left| left.environment.clone()));
        let agrees = whole && counts_as_another(hold, rules, now);
        match hold.state {
            HoldState::Released => {
                for left in empty {
                    decision.go(left, StaleReason::HoldReleased);
                }
            }
            HoldState::Held if agrees && hold.agreeing_listings + 1 >= rules.release_after => {
                for left in empty {
                    decision.go(left, StaleReason::HoldReleased);
                }
                decision.holds.push(HoldChange::Release { id: hold.id });
            }
            HoldState::Held if agrees => decision.holds.push(HoldChange::Agree { id: hold.id }),
            HoldState::Held | HoldState::Rejected | HoldState::Expired => {}
        }
    }
    covered
}

impl NodesDecision {
    fn go(&mut self, left: &NodesLeft, reason: StaleReason) {
        self.stale.extend(left.nodes.iter().map(|id| (id.clone(), reason)));
    }
}
