//! Asks for what seems gone, and judges it (SPEC section 4).

use super::run::{Run, WorkError};
use crate::domain::baseline::Baseline;
use crate::domain::event::Phase;
use crate::domain::item::Element;
use crate::domain::plan::Absence;
use crate::domain::removal::{self, Decision, NodesDecision, ProbeAnswer, Question, RemovalRules};
use crate::domain::{Completeness, ExternalId, PartialReason};
use crate::ports::platform::Lookup;

/// What becomes of everything that the listing did not show.
pub(super) struct Judged {
    pub(super) environments: Decision,
    pub(super) nodes: NodesDecision,
    pub(super) completeness: Completeness,
}

/// Judges absences. Whose key it is comes first: a listing of another account
/// misses everything and proves nothing.
pub(super) async fn judge(
    run: &Run,
    baseline: &Baseline,
    absence: &mut Absence,
) -> Result<Judged, WorkError> {
    let rules =
        RemovalRules { confirm_gap: run.lease.intervals.delta, ..run.parts.settings.removal };
    let now = run.database_now();
    let mut question = removal::question(&rules, baseline, absence, now);
    if question.needs_account_check() {
        let account = run.patiently(|| run.parts.ports.platform.account(&run.access)).await?;
        if run.lease.owner_uid != Some(account.uid) {
            let doubt = Completeness::Partial(PartialReason::AccountMismatch);
            absence.completeness = absence.completeness.clone().and(doubt);
            question = removal::question(&rules, baseline, absence, now);
        }
    }
    let answers = probe(run, &question).await;
    let environments = removal::decide(&question, &answers);
    let nodes = removal::nodes(&rules, baseline, absence, &environments, now);
    let completeness = environments.completeness(absence.completeness.clone());
    Ok(Judged { environments, nodes, completeness })
}

/// What an answer says of the environment that was meant.
pub(super) fn answer(looked: Lookup, meant: &ExternalId) -> ProbeAnswer {
    let Lookup::Found { element, .. } = looked else { return ProbeAnswer::Gone };
    let found = match &element {
        Element::Shared { .. } => return ProbeAnswer::Transferred,
        Element::Environment(found) => Some(&found.environment.id),
        Element::Same(id) => Some(id),
        // It cannot be read, but it is there.
        Element::Malformed(found) => found.id.as_ref(),
    };
    // Another environment under the old name says nothing of ours.
    if found == Some(meant) { ProbeAnswer::StillOwn } else { ProbeAnswer::Unknown }
}

async fn probe(run: &Run, question: &Question) -> Vec<(ExternalId, ProbeAnswer)> {
    if question.probe.is_empty() {
        return Vec::new();
    }
    run.teller.enter(Phase::Confirm, Some(question.probe.len() as u64)).await;
    let mut answers = Vec::with_capacity(question.probe.len());
    for (done, probe) in question.probe.iter().enumerate() {
        let ask = || run.parts.ports.platform.environment(&run.access, &probe.env_name);
        let looked = run.patiently(ask).await;
        // An answer that fails proves nothing, and the listing stands.
        let answer = looked.map_or(ProbeAnswer::Unknown, |looked| answer(looked, &probe.id));
        answers.push((probe.id.clone(), answer));
        run.teller.done(done as u64 + 1).await;
    }
    answers
}
