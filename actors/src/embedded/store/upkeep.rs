//! Housekeeping: what is old goes.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::MemoryStore;
use super::db::Tables;
use crate::domain::{DataType, Scope, ScopeKey, TeamId};
use crate::ports::PortResult;
use crate::ports::upkeep::{Retention, Tidied, Upkeep};

impl Tables {
    fn tidy(&mut self, keep: &Retention, now: OffsetDateTime) -> Tidied {
        let old = |at: OffsetDateTime, kept: Duration| at + kept <= now;
        let mut tidied = Tidied::default();

        let before = self.jobs.len();
        self.jobs.retain(|_, job| job.finished_at.is_none_or(|at| !old(at, keep.jobs)));
        tidied.jobs = gone(before, self.jobs.len());

        for outbox in self.outbox.values_mut() {
            let before = outbox.events.len();
            outbox.events.retain(|_, event| !old(event.at, keep.outbox));
            tidied.outbox += gone(before, outbox.events.len());
        }
        for (team, changes) in &mut self.changes {
            let before = changes.len();
            if let Some(cut) = changes.iter().rfind(|row| old(row.found_at, keep.changes)) {
                self.changes_cut.insert(*team, cut.found_at);
            }
            changes.retain(|row| !old(row.found_at, keep.changes));
            tidied.changes += gone(before, changes.len());
        }
        for ((_, data_type), rows) in &mut self.rows {
            if *data_type == DataType::JobLogs {
                let before = rows.len();
                rows.retain(|_, row| !old(row.first_seen_at, keep.job_logs));
                tidied.job_logs += gone(before, rows.len());
            }
        }
        let before = self.quarantine.len();
        self.quarantine.retain(|_, kept| !old(kept.last_seen_at, keep.quarantine));
        tidied.quarantine = gone(before, self.quarantine.len());

        let before = self.idempotency.len();
        self.idempotency.retain(|_, kept| !old(kept.at, keep.idempotency_keys));
        tidied.idempotency_keys = gone(before, self.idempotency.len());

        let before = self.replicas.len();
        self.replicas.retain(|_, row| !old(row.heartbeat_at, keep.replicas));
        tidied.replicas = gone(before, self.replicas.len());

        let leased: Vec<_> = self.states.values().filter_map(|s| s.lease).map(|l| l.run).collect();
        let orphans = self.staging.extract_if(|run, _| !leased.contains(run));
        tidied.staging = orphans.map(|(_, rows)| rows.len() as u64).sum();

        let removed: Vec<TeamId> = self
            .teams
            .iter()
            .filter(|(_, team)| team.deleted_at.is_some_and(|at| old(at, keep.removed_teams)))
            .map(|(id, _)| *id)
            .collect();
        for team in removed {
            tidied.team_rows += self.purge(team);
        }
        tidied
    }

    fn purge(&mut self, team: TeamId) -> u64 {
        let mine = self.rows.extract_if(|(owner, _), _| *owner == team);
        let mut rows: u64 = mine.map(|(_, rows)| rows.len() as u64).sum();
        rows += self.archive.remove(&team).map_or(0, |sites| sites.len() as u64);
        rows += self.changes.remove(&team).map_or(0, |changes| changes.len() as u64);
        rows += self.outbox.remove(&team).map_or(0, |outbox| outbox.events.len() as u64);
        for scope in Scope::ALL {
            self.states.remove(&ScopeKey::new(team, scope));
        }
        self.jobs.retain(|_, job| job.key.team != team);
        self.published.retain(|id| self.jobs.contains_key(id));
        self.verified.retain(|(owner, _), _| *owner != team);
        self.holds.retain(|_, hold| hold.team != team);
        self.quarantine.retain(|(owner, _, _), _| *owner != team);
        self.teams.remove(&team);
        rows
    }
}

fn gone(before: usize, after: usize) -> u64 {
    (before - after) as u64
}

#[async_trait]
impl Upkeep for MemoryStore {
    /// Batches spare a database its locks; here one sweep does it all.
    async fn tidy(&self, retention: &Retention, _batch: u32) -> PortResult<Option<Tidied>> {
        Ok(Some(self.tables().tidy(retention, self.now())))
    }
}
