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
            absence.completeness = Completeness::Partial(PartialReason::AccountMismatch);
            question = removal::question(&rules, baseline, absence, now);
        }
    }
    let answers = probe(run, &question).await;
    let environments = removal::decide(&question, &answers);
    let nodes = removal::nodes(&rules, baseline, absence, &environments, now);
    let completeness = environments.completeness(absence.completeness.clone());
    Ok(Judged { environments, nodes, completeness })
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
        let answer = match looked {
            Ok(Lookup::Gone) => ProbeAnswer::Gone,
            Ok(Lookup::Found { element, .. }) => match element {
                Element::Environment(found) if found.environment.id == probe.id => {
                    ProbeAnswer::StillOwn
                }
                Element::Same(id) if id == probe.id => ProbeAnswer::StillOwn,
                Element::Shared { .. } => ProbeAnswer::Transferred,
                // Another environment under the old name says nothing of ours.
                Element::Environment(_) | Element::Same(_) | Element::Malformed(_) => {
                    ProbeAnswer::Unknown
                }
            },
            // An answer that fails proves nothing, and the listing stands.
            Err(_) => ProbeAnswer::Unknown,
        };
        answers.push((probe.id.clone(), answer));
        run.teller.done(done as u64 + 1).await;
    }
    answers
}
