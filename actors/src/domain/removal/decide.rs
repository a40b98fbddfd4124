//! What becomes of absent environments.

use time::OffsetDateTime;

use super::question::{Answers, Question};
use super::{HoldChange, MissingReason, ProbeAnswer, StaleReason};
use crate::domain::baseline::RowFlags;
use crate::domain::ids::ExternalId;
use crate::domain::job::Counts;
use crate::domain::scope::DataType;
use crate::domain::snapshot::{Completeness, PartialReason};

/// What becomes of absent environments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// Rows to mark missing. Rows that are missing already are not repeated.
    pub missing: Vec<(ExternalId, MissingReason)>,
    /// Rows to mark stale and to archive.
    pub stale: Vec<(ExternalId, StaleReason)>,
    /// What becomes of holds.
    pub holds: Vec<HoldChange>,
    /// A probe found a row that the listing lacks: the listing is partial and
    /// nothing is removed.
    pub contradicted: bool,
}

impl Decision {
    /// What the decision adds to the environments' counts.
    pub fn counts(&self) -> Counts {
        counts(&self.missing, &self.stale)
    }

    /// The listing's completeness as the probes leave it.
    pub fn completeness(&self, listing: Completeness) -> Completeness {
        if self.contradicted {
            listing.and(Completeness::Partial(PartialReason::ContradictedByProbe))
        } else {
            listing
        }
    }
}

pub(super) fn counts(
    missing: &[(ExternalId, MissingReason)],
    stale: &[(ExternalId, StaleReason)],
) -> Counts {
    let held = missing.iter().filter(|(_, reason)| *reason == MissingReason::Held).count();
    Counts {
        missing: missing.len() as u64,
        stale: stale.len() as u64,
        held: held as u64,
        ..Counts::default()
    }
}

/// Judges absent environments by the answers to [`Question::probe`]. An
/// environment without an answer counts as unknown.
pub fn decide(question: &Question, answers: &[(ExternalId, ProbeAnswer)]) -> Decision {
    let mut decision = Decision { holds: question.returned.clone(), ..Decision::default() };
    if !question.complete {
        return decision;
    }
    let answers: Answers<'_> = answers.iter().map(|(id, answer)| (id, *answer)).collect();
    if answers.values().any(|answer| *answer == ProbeAnswer::StillOwn) {
        decision.contradicted = true;
        return decision;
    }

    decision
        .stale
        .extend(question.released.iter().map(|id| (id.clone(), StaleReason::HoldReleased)));
    let all_confirmed = question.small_and_empty
        && question
            .candidates
            .iter()
            .map(|(id, _)| id)
            .chain(question.waiting.iter().flat_map(|hold| &hold.items))
            .all(|id| confirmed(&answers, id).is_some());
    for hold in &question.waiting {
        if all_confirmed || hold.releases {
            decision.stale.extend(hold.items.iter().map(|id| {
                (id.clone(), confirmed(&answers, id).unwrap_or(StaleReason::HoldReleased))
            }));
            decision.holds.push(HoldChange::Release { id: hold.id });
        } else if hold.agrees {
            decision.holds.push(HoldChange::Agree { id: hold.id });
        }
    }

    if let (Some(guard), false) = (question.guard, all_confirmed) {
        let items: Vec<_> = question.candidates.iter().map(|(id, _)| id.clone()).collect();
        decision.missing.extend(items.iter().map(|id| (id.clone(), MissingReason::Held)));
        decision.holds.push(HoldChange::Open {
            data_type: DataType::Environments,
            items,
            of: question.live as u64,
            reason: guard.to_owned(),
        });
        return decision;
    }
    // While a large set is in doubt, its listings are no evidence against
    // other rows; an answer about the row itself is.
    let undecided = question
        .waiting
        .iter()
        .any(|hold| !decision.holds.contains(&HoldChange::Release { id: hold.id }));
    for (id, flags) in &question.candidates {
        if let Some(reason) = confirmed(&answers, id) {
            decision.stale.push((id.clone(), reason));
        } else if !undecided && missed_twice(question, flags, question.now) {
            decision.stale.push((id.clone(), StaleReason::MissedTwice));
        } else if flags.missing_since.is_none() {
            decision.missing.push((id.clone(), MissingReason::AbsentOnce));
        }
    }
    decision
}

fn confirmed(answers: &Answers<'_>, id: &ExternalId) -> Option<StaleReason> {
    match answers.get(id)? {
        ProbeAnswer::Gone => Some(StaleReason::Deleted),
        ProbeAnswer::Transferred => Some(StaleReason::Transferred),
        ProbeAnswer::StillOwn | ProbeAnswer::Unknown => None,
    }
}

fn missed_twice(question: &Question, flags: &RowFlags, now: OffsetDateTime) -> bool {
    flags.missing_since.is_some_and(|since| now >= since + question.rules.confirm_gap)
}
