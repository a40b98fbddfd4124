//! Annotates the archive: who deleted a site and when, and whether the oldest
//! ones are still gone. It never adds, archives or un-archives a site; one
//! that turns out to live makes `environments` due, whose apply does that.
//!
//! One site that cannot be asked for holds nobody up: it is noted as asked,
//! and the next run begins with others.

use std::collections::HashMap;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::job_logs::{self, Pages};
use super::run::{Run, WorkError};
use super::{removals, schedule};
use crate::domain::event::{ChangedId, MAX_CHANGED_IDS, Phase};
use crate::domain::item::{Columns, Item};
use crate::domain::removal::ProbeAnswer;
use crate::domain::{
    Capability, Completeness, Counts, DataType, ExternalId, FailureClass, Mode, PartialReason,
    Refused, Scope,
};
use crate::ports::store::{Annotation, Apply, ArchivedSite, DueTimes, TableApply, Upserts};

/// The platform's word for the deletion of an environment (part of the
/// action's name; matched without case).
const DELETION: &str = "delete";

/// Reads what the platform can tell of archived sites.
pub(super) async fn annotate(run: &Run) -> Result<Apply, WorkError> {
    let (lease, settings) = (&run.lease, &run.parts.settings);
    let sent_at = Instant::now();
    let store = &run.parts.ports.store;
    let sites = store.archive_work(lease.name.key.team, settings.archive_probes).await?;
    run.teller.enter(Phase::Fetch, Some(sites.len() as u64)).await;
    let mut refused = lease.refused.clone();
    let deletions = deletions(run, &sites, &mut refused).await?;
    run.teller.enter(Phase::Confirm, Some(sites.len() as u64)).await;
    let (probes, completeness) = probe(run, &sites, &mut refused).await?;
    let mut counts = Counts { listed: sites.len() as u64, ..Counts::default() };
    let mut annotations = Vec::new();
    for (place, site) in sites.iter().enumerate() {
        let (deletion, probed) = (deletions.of(site), probes.get(place).copied());
        if deletion.is_some() {
            counts.updated += 1;
        } else {
            counts.unchanged += 1;
        }
        if deletion.is_some() || probed.is_some() {
            annotations.push(Annotation {
                id: site.id.clone(),
                deleted_by: deletion.and_then(|deletion| deletion.by.clone()),
                deleted_at: deletion.and_then(|deletion| deletion.at),
                probed,
            });
        }
    }
    run.teller.enter(Phase::Apply, None).await;
    let news = annotations.iter().filter(|note| note.tells_of_a_deletion() || note.lives());
    let changed: Vec<ChangedId> = news
        .take(MAX_CHANGED_IDS)
        .map(|note| ChangedId { data_type: DataType::ArchivedSites, id: note.id.clone() })
        .collect();
    let wake = annotations.iter().any(Annotation::lives).then_some(Scope::Environments);
    let doubt = schedule::doubt(run, &completeness);
    // The archive knows fulls only.
    let full = schedule::due(run, Mode::Full, doubt.as_ref()).full;
    Ok(Apply {
        lease: lease.name,
        mode: lease.mode,
        sent_at,
        tables: vec![TableApply {
            data_type: DataType::ArchivedSites,
            verified: completeness.is_complete(),
            upserts: Upserts::Inline(Vec::new()),
            missing: Vec::new(),
            stale: Vec::new(),
            quarantined: Vec::new(),
            counts,
        }],
        completeness,
        doubt,
        holds: Vec::new(),
        annotations,
        body: None,
        due: DueTimes { full, delta: full },
        cursor: lease.cursor,
        refused,
        changed,
        truncated: false,
        counts,
        wake,
    })
}

/// Asks for the sites one by one; an answer each, up to where the platform
/// stopped answering at all.
async fn probe(
    run: &Run,
    sites: &[ArchivedSite],
    refused: &mut Refused,
) -> Result<(Vec<ProbeAnswer>, Completeness), WorkError> {
    let mut answers = Vec::with_capacity(sites.len());
    if run.does_without(refused, Capability::GetEnvInfo) {
        return Ok((answers, Completeness::Complete));
    }
    for site in sites {
        let ask = || run.parts.ports.platform.environment(&run.access, &site.env_name);
        let looked = run.patiently(ask).await;
        run.learn(refused, Capability::GetEnvInfo, &looked);
        match looked {
            Ok(found) => answers.push(removals::answer(found, &site.id)),
            Err(failure) => match failure.class {
                FailureClass::Throttled | FailureClass::Auth => return Err(failure.into()),
                // None of the others would be told anything else.
                FailureClass::Capability => break,
                _ => {
                    answers.push(ProbeAnswer::Unknown);
                    if failure.connection_level {
                        let doubt = Completeness::Partial(PartialReason::PageMissing);
                        return Ok((answers, doubt));
                    }
                }
            },
        }
        run.teller.done(answers.len() as u64).await;
    }
    Ok((answers, Completeness::Complete))
}

/// Who deleted an environment and when.
struct Deletion {
    by: Option<String>,
    at: Option<OffsetDateTime>,
}

/// The deletions that the history tells of.
struct Deletions<'a> {
    /// The sites in question, by id and by name. A name may have been used by
    /// several of them.
    ids: HashMap<&'a ExternalId, &'a ArchivedSite>,
    names: HashMap<&'a str, Vec<&'a ArchivedSite>>,
    found: HashMap<ExternalId, Deletion>,
}

impl<'a> Deletions<'a> {
    fn of_unannotated(sites: &'a [ArchivedSite]) -> Self {
        let mut names: HashMap<&str, Vec<&ArchivedSite>> = HashMap::new();
        let wanted = sites.iter().filter(|site| !site.annotated);
        for site in wanted.clone() {
            names.entry(&site.env_name).or_default().push(site);
        }
        Self { ids: wanted.map(|site| (&site.id, site)).collect(), names, found: HashMap::new() }
    }

    fn of(&self, site: &ArchivedSite) -> Option<&Deletion> {
        self.found.get(&site.id)
    }

    /// The site that an action deleted: by its id where the action tells one,
    /// else the first of that name that was found gone after it.
    fn site(&self, log: &crate::domain::item::JobLogColumns) -> Option<&'a ArchivedSite> {
        if let Some(id) = &log.environment {
            return self.ids.get(id).copied();
        }
        let at = log.finished_at.or(log.started_at)?;
        let of_name = self.names.get(log.env_name.as_deref()?)?;
        of_name.iter().copied().filter(|site| site.archived_at >= at).min_by_key(|s| s.archived_at)
    }
}

#[async_trait]
impl Pages for Deletions<'_> {
    async fn take(&mut self, items: Vec<Item>) -> Result<(), WorkError> {
        for item in items {
            let Columns::JobLog(log) = item.columns else { continue };
            if !log.action.to_ascii_lowercase().contains(DELETION) {
                continue;
            }
            let Some(site) = self.site(&log) else { continue };
            let at = log.finished_at.or(log.started_at);
            if self.found.get(&site.id).is_none_or(|known| known.at < at) {
                self.found.insert(site.id.clone(), Deletion { by: log.login, at });
            }
        }
        Ok(())
    }
}

/// The last deletion of each site that is not annotated yet. Without the
/// history, or without the right to read it, nobody knows.
async fn deletions<'a>(
    run: &Run,
    sites: &'a [ArchivedSite],
    refused: &mut Refused,
) -> Result<Deletions<'a>, WorkError> {
    let mut deletions = Deletions::of_unannotated(sites);
    let oldest = deletions.ids.values().map(|site| site.archived_at).min();
    let Some(oldest) = oldest else { return Ok(deletions) };
    if run.does_without(refused, Capability::SearchActions) {
        return Ok(deletions);
    }
    let settings = &run.parts.settings;
    // A deletion is confirmed at most two full intervals after it happened,
    // and what the history no longer holds is not worth reading all of it.
    let from = oldest - run.lease.intervals.full * 2 - settings.history_overlap;
    let from = from.max(run.database_now() - settings.history_window);
    job_logs::history(run, from, &mut deletions, refused).await?;
    Ok(deletions)
}
