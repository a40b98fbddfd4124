//! Annotates the archive: who deleted a site and when, and whether the oldest
//! ones are still gone. It never adds, archives or un-archives a site; one
//! that turns out to live makes `environments` due, whose apply does that.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;
use tokio::time::Instant;

use super::run::{Run, WorkError};
use super::{job_logs, schedule};
use crate::domain::event::{ChangedId, MAX_CHANGED_IDS, Phase};
use crate::domain::item::Columns;
use crate::domain::{Completeness, Counts, DataType, ExternalId, FailureClass, Mode, Scope};
use crate::ports::platform::Lookup;
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
    let mut cursor = lease.cursor.clone().unwrap_or_default();
    let deletions = match deletions(run, &sites).await {
        Ok(deletions) => {
            cursor.tracking_refused = false;
            deletions
        }
        Err(WorkError::Failed(failure)) if failure.class == FailureClass::Capability => {
            cursor.tracking_refused = true;
            HashMap::new()
        }
        Err(error) => return Err(error),
    };
    let mut counts = Counts { listed: sites.len() as u64, ..Counts::default() };
    let (mut annotations, mut alive) = (Vec::new(), HashSet::new());
    run.teller.enter(Phase::Confirm, Some(sites.len() as u64)).await;
    for (done, site) in sites.iter().enumerate() {
        let deletion = deletions.get(site.env_name.as_str());
        let ask = || run.parts.ports.platform.environment(&run.access, &site.env_name);
        let probed = match run.patiently(ask).await? {
            Lookup::Gone => Some(false),
            Lookup::Found { element, .. } => {
                schedule::own_id(&element).filter(|id| **id == site.id).map(|_| true)
            }
        };
        if probed == Some(true) {
            alive.insert(site.id.clone());
        }
        if deletion.is_some() && !site.annotated {
            counts.updated += 1;
        } else {
            counts.unchanged += 1;
        }
        annotations.push(Annotation {
            id: site.id.clone(),
            deleted_by: deletion.and_then(|deletion| deletion.by.clone()),
            deleted_at: deletion.and_then(|deletion| deletion.at),
            probed,
        });
        run.teller.done(done as u64 + 1).await;
    }
    run.teller.enter(Phase::Apply, None).await;
    // The archive knows fulls only.
    let full = schedule::next_due(run, Mode::Full).full;
    let due = DueTimes { full, delta: full };
    let changed: Vec<ChangedId> = annotations
        .iter()
        .filter(|annotation| annotation.deleted_at.is_some() || annotation.probed == Some(true))
        .take(MAX_CHANGED_IDS)
        .map(|annotation| ChangedId {
            data_type: DataType::ArchivedSites,
            id: annotation.id.clone(),
        })
        .collect();
    Ok(Apply {
        lease: lease.name,
        mode: lease.mode,
        sent_at,
        completeness: Completeness::Complete,
        doubt: None,
        tables: vec![TableApply {
            data_type: DataType::ArchivedSites,
            verified: true,
            upserts: Upserts::Inline(Vec::new()),
            missing: Vec::new(),
            stale: Vec::new(),
            quarantined: Vec::new(),
            unseen: Vec::new(),
            counts,
        }],
        holds: Vec::new(),
        annotations,
        body: None,
        due,
        cursor: Some(cursor),
        changed,
        truncated: false,
        counts,
        wake: (!alive.is_empty()).then_some(Scope::Environments),
    })
}

/// Who deleted an environment and when.
struct Deletion {
    by: Option<String>,
    at: Option<OffsetDateTime>,
}

/// The last deletion of each name that is not annotated yet.
async fn deletions(
    run: &Run,
    sites: &[ArchivedSite],
) -> Result<HashMap<String, Deletion>, WorkError> {
    let oldest: Option<OffsetDateTime> =
        sites.iter().filter(|site| !site.annotated).map(|site| site.archived_at).min();
    let Some(oldest) = oldest else { return Ok(HashMap::new()) };
    // A deletion is confirmed at most two full intervals after it happened.
    let from = oldest - run.lease.intervals.full * 2 - run.parts.settings.history_overlap;
    let wanted: HashSet<&ExternalId> = sites.iter().map(|site| &site.id).collect();
    let names: HashSet<&str> = sites.iter().map(|site| site.env_name.as_str()).collect();
    let history = job_logs::history(run, from, None).await?;
    let mut found: HashMap<String, Deletion> = HashMap::new();
    for item in history.items {
        let Columns::JobLog(log) = item.columns else { continue };
        let Some(name) = log.env_name else { continue };
        let same = log.environment.as_ref().is_none_or(|id| wanted.contains(id));
        if !same
            || !names.contains(name.as_str())
            || !log.action.to_ascii_lowercase().contains(DELETION)
        {
            continue;
        }
        let at = log.finished_at.or(log.started_at);
        let newer = found.get(&name).is_none_or(|known| known.at < at);
        if newer {
            found.insert(name, Deletion { by: log.login, at });
        }
    }
    Ok(found)
}
