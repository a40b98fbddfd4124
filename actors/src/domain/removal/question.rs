//! What a listing's absences leave to be asked.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use super::{EMPTY_LISTING, HoldChange, OVER_PERCENTAGE, RemovalRules};
use crate::domain::baseline::{Baseline, HoldState, RowFlags, StoredHold};
use crate::domain::ids::{ExternalId, HoldId};
use crate::domain::plan::Absence;
use crate::domain::scope::DataType;

/// An environment to ask for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its identifier.
    pub id: ExternalId,
    /// The name that GetEnvInfo takes.
    pub env_name: String,
}

/// What must be asked before absences can be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Environments to ask for, at most `probe_limit`. Ask only after the
    /// account was found to be the owner's.
    pub probe: Vec<Probe>,
    pub(super) complete: bool,
    pub(super) now: OffsetDateTime,
    pub(super) rules: RemovalRules,
    pub(super) nodes_left: bool,
    /// Absent rows that no hold covers, with their flags.
    pub(super) candidates: Vec<(ExternalId, RowFlags)>,
    /// The guard that stops the candidates, unless probes overrule it.
    pub(super) guard: Option<&'static str>,
    /// Whether every absent row is among the probes, so that a small team's
    /// empty listing can be confirmed.
    pub(super) small_and_empty: bool,
    /// Live rows.
    pub(super) live: usize,
    /// Holds that wait, with those of their rows that are still absent.
    pub(super) waiting: Vec<WaitingHold>,
    /// Absent rows whose removal was released by people.
    pub(super) released: Vec<ExternalId>,
    /// Shrinks and expiries, which need no complete listing.
    pub(super) returned: Vec<HoldChange>,
}

/// A hold that waits for a decision or for agreement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WaitingHold {
    pub id: HoldId,
    pub items: Vec<ExternalId>,
    /// Whether this listing counts as another one that misses the whole set.
    pub agrees: bool,
    /// Whether it is the last one needed.
    pub releases: bool,
}

impl Question {
    /// Whether something is absent, nodes too, so that the account must be checked
    /// before anything is asked or decided.
    pub fn needs_account_check(&self) -> bool {
        self.complete
            && (self.nodes_left
                || !self.candidates.is_empty()
                || !self.waiting.is_empty()
                || !self.released.is_empty())
    }
}

/// Sorts the absences of a listing: what a hold covers, what the guard stops,
/// and what can be asked for.
pub fn question(
    rules: &RemovalRules,
    baseline: &Baseline,
    absence: &Absence,
    now: OffsetDateTime,
) -> Question {
    let complete = absence.completeness.is_complete();
    let absent: HashSet<&ExternalId> = absence.environments.iter().collect();
    let live = baseline.environments.values().filter(|row| !row.flags.stale).count();
    let is_live = |id: &ExternalId| baseline.environments.get(id).is_some_and(|r| !r.flags.stale);
    let seen: HashSet<&ExternalId> = absence.seen.iter().collect();

    let mut covered: HashSet<ExternalId> = HashSet::new();
    let mut in_suspense = 0;
    let mut waiting = Vec::new();
    let mut released = Vec::new();
    let mut returned = Vec::new();
    for hold in baseline.holds.iter().filter(|hold| hold.data_type == DataType::Environments) {
        if hold.state == HoldState::Expired {
            continue;
        }
        // Rows that went another way leave the hold like rows that came back.
        let (left, items): (Vec<_>, Vec<_>) =
            hold.items.iter().cloned().partition(|id| seen.contains(id) || !is_live(id));
        let shrunk = !left.is_empty();
        returned.extend(shrink(hold.id, left, items.is_empty()));
        if !complete || items.is_empty() {
            continue;
        }
        let items: Vec<_> =
            items.into_iter().filter(|id| absent.contains(id) && !covered.contains(id)).collect();
        if !binds(hold, rules, now) {
            continue;
        }
        in_suspense += items.len();
        covered.extend(items.iter().cloned());
        match hold.state {
            HoldState::Released => released.extend(items),
            HoldState::Held => {
                let agrees = !shrunk && counts_as_another(hold, rules, now);
                let releases = agrees && hold.agreeing_listings + 1 >= rules.release_after;
                waiting.push(WaitingHold { id: hold.id, items, agrees, releases });
            }
            HoldState::Rejected | HoldState::Expired => {}
        }
    }

    let mut candidates: Vec<(ExternalId, RowFlags)> = absence
        .environments
        .iter()
        .filter(|id| !covered.contains(*id))
        .filter_map(|id| Some((id.clone(), baseline.environments.get(id)?.flags)))
        .filter(|(_, flags)| !flags.stale)
        .collect();
    // Those missed before are nearest to a confirmation.
    candidates.sort_by(|(a, x), (b, y)| {
        let order = |flags: &RowFlags| flags.missing_since.is_none();
        order(x).cmp(&order(y)).then_with(|| a.cmp(b))
    });

    let empty = complete && absence.empty && live > 0;
    let guard = if candidates.is_empty() {
        None
    } else if empty {
        Some(EMPTY_LISTING)
    } else if rules.holds(candidates.len(), live - in_suspense.min(live)) {
        Some(OVER_PERCENTAGE)
    } else {
        None
    };

    let held_items = waiting.iter().flat_map(|hold| &hold.items);
    let small_and_empty = empty
        && live <= rules.probe_limit
        && released.len() + candidates.len() + held_items.clone().count() == live;
    let mut probe: Vec<Probe> = Vec::new();
    let asked = candidates.iter().map(|(id, _)| id).chain(held_items.filter(|_| small_and_empty));
    for id in asked {
        if probe.len() >= rules.probe_limit {
            break;
        }
        let name = baseline.environments.get(id).and_then(|row| row.env_name.clone());
        probe.extend(name.map(|env_name| Probe { id: id.clone(), env_name }));
    }
    Question {
        probe,
        complete,
        now,
        rules: *rules,
        nodes_left: !absence.nodes.is_empty(),
        candidates,
        guard,
        small_and_empty,
        live,
        waiting,
        released,
        returned,
    }
}

/// What the return of some rows means for their hold.
pub(super) fn shrink(id: HoldId, returned: Vec<ExternalId>, all: bool) -> Option<HoldChange> {
    match (all, returned.is_empty()) {
        (true, _) => Some(HoldChange::Expire { id }),
        (false, false) => Some(HoldChange::Shrink { id, returned }),
        (false, true) => None,
    }
}

/// Whether a hold still keeps its rows out of the ordinary rules.
pub(super) fn binds(hold: &StoredHold, rules: &RemovalRules, now: OffsetDateTime) -> bool {
    match hold.state {
        HoldState::Held | HoldState::Released => true,
        HoldState::Rejected => {
            now < hold.decided_at.unwrap_or(hold.created_at) + rules.rejected_for
        }
        HoldState::Expired => false,
    }
}

/// Two listings count as two only when they are far enough apart: a burst of
/// refreshes in one bad minute is one opinion.
pub(super) fn counts_as_another(
    hold: &StoredHold,
    rules: &RemovalRules,
    now: OffsetDateTime,
) -> bool {
    now >= hold.counted_at + rules.confirm_gap
}

/// Rows by id, for looking answers up.
pub(super) type Answers<'a> = HashMap<&'a ExternalId, super::ProbeAnswer>;
