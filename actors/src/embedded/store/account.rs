//! A team that goes over to another platform account: the old mirror is put
//! away, and nothing that was learnt of it binds the new one's runs.

use time::OffsetDateTime;

use super::db::{Tables, Verified};
use crate::domain::baseline::HoldState;
use crate::domain::removal::StaleReason;
use crate::domain::{DataType, ExternalId, Fence, Scope, ScopeKey, TeamId};

/// Who decided a hold whose account was replaced.
const BY_REPLACEMENT: &str = "replaced account";

impl Tables {
    /// Puts away what was mirrored. The caller makes the scopes due.
    pub fn start_anew(&mut self, team: TeamId, now: OffsetDateTime) {
        for scope in Scope::ALL {
            self.stop_run(ScopeKey::new(team, scope), now);
        }
        let fence = self.states.get(&ScopeKey::new(team, Scope::Environments));
        let fence = fence.map_or(Fence(0), |state| state.fence);
        // Snapshots first: they hold the nodes that are still there.
        for id in self.live_ids(team) {
            self.archive_environment(team, &id, StaleReason::AccountReplaced, (now, now));
        }
        for data_type in [DataType::Environments, DataType::Nodes] {
            let rows = self.rows.entry((team, data_type)).or_default();
            for row in rows.values_mut().filter(|row| row.stale.is_none()) {
                row.stale = Some((now, StaleReason::AccountReplaced));
                row.missing = None;
                row.needs_validation = false;
                row.held = false;
                row.quarantined = false;
                row.fence = fence;
            }
        }
        self.quarantine.retain(|(of, ..), _| *of != team);
        for hold in self.holds.values_mut().filter(|hold| hold.team == team) {
            hold.state = HoldState::Expired;
            hold.decided.get_or_insert_with(|| (now, BY_REPLACEMENT.to_owned()));
        }
        for (_, verified) in self.verified.iter_mut().filter(|((of, _), _)| *of == team) {
            *verified = Verified::default();
        }
    }

    /// Takes the lease away. What ran is queued again, for the new account.
    fn stop_run(&mut self, key: ScopeKey, now: OffsetDateTime) {
        self.unlease(key);
        // An attempt that was taken away is not held against the job.
        self.requeue(key, true, now);
        let Some(mut state) = self.states.get_mut(&key) else { return };
        state.fence = Fence(state.fence.0 + 1);
        state.due.full = now;
        state.due.delta = now;
        state.last_full_at = None;
        state.expected = None;
        state.cursor = None;
        state.failures = 0;
        state.failing_since = None;
        state.paused_at = None;
        state.pause_warned_at = None;
        state.last_error = None;
        if let Some(request) = &mut state.request {
            request.environments.clear();
        }
    }

    fn live_ids(&self, team: TeamId) -> Vec<ExternalId> {
        let rows = self.rows.get(&(team, DataType::Environments)).into_iter().flatten();
        rows.filter(|(_, row)| row.stale.is_none()).map(|(id, _)| id.clone()).collect()
    }
}
